package s3

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Defaults and limits. Those of the service are from the Amazon S3 user guide,
// "Multipart upload limits".
const (
	DefaultRegion                  = "us-east-1"
	DefaultMultipartThresholdBytes = 16 << 20
	DefaultMultipartChunkBytes     = 8 << 20
	DefaultRequestTimeout          = time.Minute
	DefaultMaxConnections          = 512

	MinMultipartChunkBytes = 5 << 20
	MaxMultipartChunkBytes = 1 << 30 // the service takes 5 GiB; a part is held in memory
	MaxParts               = 10_000
	maxSinglePutBytes      = 5 << 30
	maxKeyPrefix           = 512 // of a key's 1,024 bytes
	maxSegment             = 255 // POSIX-backed servers keep a segment as a file name
)

// SSE is what server-side encryption to ask for.
type SSE string

// The kinds of encryption with keys that the server keeps.
const (
	SSENone   SSE = ""
	SSEAES256 SSE = "AES256"
	SSEKMS    SSE = "aws:kms"
)

// Config says which bucket holds the blobs, and how to talk to it.
type Config struct {
	// EndpointURL is http(s)://host[:port]; "" is Amazon's for the region.
	EndpointURL string
	// Region to sign for; "" is DefaultRegion.
	Region string
	// Bucket must exist.
	Bucket string
	// KeyPrefix is put before every key, without slashes at its ends.
	KeyPrefix string

	// The credentials. SessionToken is optional.
	AccessKey, SecretKey, SessionToken storage.Secret
	// AllowAmbientCredentials lets missing keys come from where the process
	// runs: the SDK's usual places (environment, shared files, the cloud role
	// of the pod or machine). Only who trusts EndpointURL with them sets it.
	AllowAmbientCredentials bool

	// StorageClass of new objects, as the service spells it; "" is its default.
	StorageClass string
	// StorageClasses are those of tiers (storage.Source's); a tier that has no
	// entry gets StorageClass.
	StorageClasses map[string]string
	// SSE for new objects.
	SSE SSE

	// MultipartThresholdBytes is from what size a blob goes up in parts; 0 is
	// DefaultMultipartThresholdBytes.
	MultipartThresholdBytes int64
	// MultipartChunkBytes is the size of a part, which is held in memory; 0
	// is DefaultMultipartChunkBytes. The largest blob of unknown size is
	// MaxParts times this; one of known size gets larger parts, up to the memory
	// that uploads may hold.
	MultipartChunkBytes int64

	// ForcePathStyle asks http://host/bucket/key instead of
	// http://bucket.host/key; nil is true when EndpointURL is set.
	ForcePathStyle *bool
	// CABundle is PEM: the certificates to trust instead of the system's.
	CABundle []byte
	// Checksums; "" is ChecksumsAuto.
	Checksums Checksums
	// RequestTimeout is how long a connection may make no progress; 0 is
	// DefaultRequestTimeout. There is no limit on a request that moves.
	RequestTimeout time.Duration
	// MaxConnections to the endpoint at once, beyond which requests wait; 0 is
	// DefaultMaxConnections. Each download holds one for as long as it lasts.
	MaxConnections int

	// probes: ForProbe made it.
	probes bool
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	fill := func(field *int64, value int64) {
		if *field == 0 {
			*field = value
		}
	}
	fill(&c.MultipartThresholdBytes, DefaultMultipartThresholdBytes)
	fill(&c.MultipartChunkBytes, DefaultMultipartChunkBytes)
	if c.Region == "" {
		c.Region = DefaultRegion
	}
	if c.ForcePathStyle == nil {
		pathStyle := c.EndpointURL != ""
		c.ForcePathStyle = &pathStyle
	}
	if c.Checksums == "" {
		c.Checksums = ChecksumsAuto
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	return c
}

// Amazon S3 user guide, "Bucket naming rules"; upper case and underscores are
// what other servers allow besides.
var (
	bucketPattern       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	regionPattern       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)
	storageClassPattern = regexp.MustCompile(`^[A-Z0-9][A-Z0-9_]{0,63}$`)
)

// Validate checks the fields; errors name them in camelCase and hold no secret.
func (c Config) Validate() error {
	d := c.withDefaults()
	if err := validateEndpoint(d.EndpointURL); err != nil {
		return err
	}
	if !regionPattern.MatchString(d.Region) {
		return fmt.Errorf("region: %.70q must be letters, digits and hyphens", d.Region)
	}
	if d.Bucket == "" {
		return errors.New("bucket: must not be empty")
	}
	if !bucketPattern.MatchString(d.Bucket) || strings.Contains(d.Bucket, "..") {
		return fmt.Errorf("bucket: %.70q must be 3 to 63 letters, digits, dots and hyphens", d.Bucket)
	}
	if err := validateKeyPrefix(d.KeyPrefix); err != nil {
		return err
	}
	if err := validateCredentials(d); err != nil {
		return err
	}
	if d.StorageClass != "" && !storageClassPattern.MatchString(d.StorageClass) {
		return fmt.Errorf("storageClass: %.70q must be upper-case letters, digits and underscores", d.StorageClass)
	}
	if !slices.Contains([]SSE{SSENone, SSEAES256, SSEKMS}, d.SSE) {
		return fmt.Errorf("sse: %.40q must be %s or %s", string(d.SSE), SSEAES256, SSEKMS)
	}
	if !slices.Contains([]Checksums{ChecksumsAuto, ChecksumsWhenRequired, ChecksumsWhenSupported}, d.Checksums) {
		return fmt.Errorf("checksums: %.40q must be %s, %s or %s", string(d.Checksums), ChecksumsAuto, ChecksumsWhenRequired, ChecksumsWhenSupported)
	}
	return validateSizes(d)
}

func validateEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	// The text itself is not shown: it may hold a password.
	parsed, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return errors.New("endpointUrl: is not a URL")
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return errors.New("endpointUrl: must begin with http:// or https://")
	case parsed.Hostname() == "":
		return errors.New("endpointUrl: must name a host")
	case parsed.User != nil:
		return errors.New("endpointUrl: must not hold a user or password")
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		return errors.New("endpointUrl: must not hold a query or fragment")
	case parsed.Path != "" && parsed.Path != "/":
		return errors.New("endpointUrl: must not hold a path: the bucket and keyPrefix have fields of their own")
	}
	return nil
}

func validateKeyPrefix(prefix string) error {
	switch {
	case prefix == "":
		return nil
	case len(prefix) > maxKeyPrefix:
		return fmt.Errorf("keyPrefix: must be at most %d bytes, is %d", maxKeyPrefix, len(prefix))
	case !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, unicode.IsControl):
		return errors.New("keyPrefix: must be UTF-8 without control characters")
	case strings.Contains(prefix, `\`):
		return errors.New("keyPrefix: must not contain a backslash")
	}
	for segment := range strings.SplitSeq(prefix, "/") {
		switch {
		case segment == "" || segment == "." || segment == "..":
			return fmt.Errorf("keyPrefix: %.80q must not begin or end with a slash, nor hold an empty, . or .. segment", prefix)
		case len(segment) > maxSegment:
			return fmt.Errorf("keyPrefix: each segment must be at most %d bytes, one is %d", maxSegment, len(segment))
		}
	}
	return nil
}

func validateCredentials(c Config) error {
	switch {
	case c.AllowAmbientCredentials && c.AccessKey.IsZero() && c.SecretKey.IsZero():
		return nil
	case c.AccessKey.IsZero():
		return errors.New("accessKey: must not be empty")
	case c.SecretKey.IsZero():
		return errors.New("secretKey: must not be empty")
	}
	for _, field := range []struct {
		name  string
		value storage.Secret
	}{{"accessKey", c.AccessKey}, {"secretKey", c.SecretKey}, {"sessionToken", c.SessionToken}} {
		// A newline at the end of a Secret is the usual mistake.
		if strings.ContainsFunc(field.value.Reveal(), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return errors.New(field.name + ": must not contain white space, as at the end of a line")
		}
	}
	return nil
}

func validateSizes(c Config) error {
	switch {
	case c.MultipartChunkBytes < MinMultipartChunkBytes || c.MultipartChunkBytes > MaxMultipartChunkBytes:
		return fmt.Errorf("multipartChunkBytes: must be %d to %d, is %d", MinMultipartChunkBytes, MaxMultipartChunkBytes, c.MultipartChunkBytes)
	case c.MultipartThresholdBytes < 1 || c.MultipartThresholdBytes > maxSinglePutBytes:
		return fmt.Errorf("multipartThresholdBytes: must be 1 to %d, is %d", int64(maxSinglePutBytes), c.MultipartThresholdBytes)
	case c.RequestTimeout < time.Second || c.RequestTimeout > time.Hour:
		return fmt.Errorf("requestTimeout: must be 1s to 1h, is %s", c.RequestTimeout)
	case c.MaxConnections < 1 || c.MaxConnections > 10_000:
		return fmt.Errorf("maxConnections: must be 1 to 10000, is %d", c.MaxConnections)
	}
	if len(c.CABundle) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.CABundle) {
		return errors.New("caBundle: holds no PEM certificate")
	}
	return nil
}

// Place says in words where the bytes are.
func (c Config) Place() string {
	place := "s3://" + c.Bucket
	if c.KeyPrefix != "" {
		place += "/" + c.KeyPrefix
	}
	if c.EndpointURL == "" {
		return place + " in " + c.withDefaults().Region
	}
	return place + " at " + hostOf(c.EndpointURL)
}

// hostOf returns host:port of an endpoint, and nothing of what else it holds.
func hostOf(endpoint string) string {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return "an endpoint that is not a URL"
	}
	return parsed.Host
}

// ForProbe returns the config of the probe's prefix within the same place.
func (c Config) ForProbe() Config {
	c.KeyPrefix = join(c.KeyPrefix, storage.ProbePrefix)
	c.probes = true
	return c
}

// join puts a prefix, which may be empty, before a key.
func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "/" + key
}
