package s3

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// SSE is the server-side encryption to request.
type SSE string

// The kinds of encryption with keys of the server.
const (
	SSENone   SSE = ""
	SSEAES256 SSE = "AES256"
)

// Promote says how bytes get from staging to their key.
type Promote string

// The ways to promote.
const (
	// PromoteCopy: the server copies.
	PromoteCopy Promote = "Copy"
	// PromoteRewrite: the driver reads the staged object and puts its bytes. On Ceph RGW
	// a copy shares the tail of the object with its source, and released versions lost it.
	PromoteRewrite Promote = "Rewrite"
)

// Config says which bucket holds the blobs, and how to access it. As JSON it is a
// document without the secrets. Its fields are named as in spec.s3 of a
// StorageBackend, which becomes a Config by these names alone. Fields may be
// added, but never changed: writer and reader of a document may be of different
// versions.
type Config struct {
	// EndpointURL is http(s)://host[:port]; "" is Amazon's in the region.
	EndpointURL string `json:"endpointURL,omitempty"`
	// Region for signatures; "" is DefaultRegion.
	Region string `json:"region,omitempty"`
	// Bucket must exist.
	Bucket string `json:"bucket"`
	// KeyPrefix is prepended to every key, without slashes at its ends.
	KeyPrefix string `json:"keyPrefix,omitempty"`

	// The credentials. SessionToken is optional.
	AccessKey, SecretKey, SessionToken storage.Secret `json:"-"`
	// AllowAmbientCredentials lets missing keys come from the SDK's credential
	// chain (environment, shared files, the cloud role of the pod or machine).
	// Set it only if EndpointURL is trusted with them.
	AllowAmbientCredentials bool `json:"allowAmbientCredentials,omitempty"`

	// StorageClass of new objects, as the service spells it; "" is its default.
	StorageClass string `json:"storageClass,omitempty"`
	// StorageClasses are the classes by tier (see storage.Source); a tier without
	// an entry uses StorageClass.
	StorageClasses map[string]string `json:"storageClasses,omitempty"`
	// SSE for new objects.
	SSE SSE `json:"sse,omitempty"`

	// MultipartThresholdBytes is the size from which a blob is uploaded in parts;
	// 0 is DefaultMultipartThresholdBytes.
	MultipartThresholdBytes int64 `json:"multipartThresholdBytes,omitempty"`
	// MultipartChunkBytes is the size of a part, which is held in memory; 0 is
	// DefaultMultipartChunkBytes. The largest blob of unknown size is MaxParts
	// times this; a blob of known size gets larger parts, up to the memory for
	// uploads.
	MultipartChunkBytes int64 `json:"multipartChunkBytes,omitempty"`

	// ForcePathStyle uses http://host/bucket/key instead of
	// http://bucket.host/key; nil is true if EndpointURL is set.
	ForcePathStyle *bool `json:"forcePathStyle,omitempty"`
	// CABundle is PEM: the certificates to trust instead of the system's.
	CABundle []byte `json:"-"`
	// Checksums mode; "" is ChecksumsAuto.
	Checksums Checksums `json:"checksums,omitempty"`
	// Promote says how staged bytes get to their key; "" is PromoteCopy.
	Promote Promote `json:"promote,omitempty"`
	// RequestTimeout is how long a connection may stay without progress; 0 is
	// DefaultRequestTimeout. A request that makes progress has no limit.
	RequestTimeout time.Duration `json:"requestTimeout,omitempty"`
	// MaxConnections is the maximum number of connections to the endpoint; further
	// requests wait. 0 is DefaultMaxConnections. A download holds one until it ends.
	MaxConnections int `json:"maxConnections,omitempty"`

	// probes is set by ForProbe.
	probes bool
}

// withDefaults sets the fields that were left out.
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
	if c.Promote == "" {
		c.Promote = PromoteCopy
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	return c
}

var (
	endpointRegexp     = regexp.MustCompile(EndpointPattern)
	regionRegexp       = regexp.MustCompile(RegionPattern)
	bucketRegexp       = regexp.MustCompile(BucketPattern)
	keyPrefixRegexp    = regexp.MustCompile(KeyPrefixPattern)
	storageClassRegexp = regexp.MustCompile(StorageClassPattern)
)

// Validate checks the fields; errors name them in camelCase and contain no secret.
func (c Config) Validate() error {
	d := c.withDefaults()
	if err := validateEndpoint(d.EndpointURL); err != nil {
		return err
	}
	if len(d.Region) > MaxRegion || !regionRegexp.MatchString(d.Region) {
		return fmt.Errorf("region: %.70q must be at most %d lower-case letters, digits and hyphens, not starting with a hyphen", d.Region, MaxRegion)
	}
	if d.Bucket == "" {
		return errors.New("bucket: must not be empty")
	}
	if len(d.Bucket) < MinBucket || len(d.Bucket) > MaxBucket || !bucketRegexp.MatchString(d.Bucket) || strings.Contains(d.Bucket, "..") {
		return fmt.Errorf("bucket: %.70q must be %d to %d letters, digits, hyphens, underscores and single dots, starting and ending with a letter or digit", d.Bucket, MinBucket, MaxBucket)
	}
	if err := validateKeyPrefix(d.ownPrefix()); err != nil {
		return err
	}
	if err := validateCredentials(d); err != nil {
		return err
	}
	if err := validateClasses(d); err != nil {
		return err
	}
	if d.SSE != SSENone && d.SSE != SSEAES256 {
		return fmt.Errorf("sse: %.40q must be %s or unset", string(d.SSE), SSEAES256)
	}
	if !slices.Contains([]Checksums{ChecksumsAuto, ChecksumsWhenRequired, ChecksumsWhenSupported}, d.Checksums) {
		return fmt.Errorf("checksums: %.40q must be %s, %s or %s", string(d.Checksums), ChecksumsAuto, ChecksumsWhenRequired, ChecksumsWhenSupported)
	}
	if d.Promote != PromoteCopy && d.Promote != PromoteRewrite {
		return fmt.Errorf("promote: %.40q must be %s or %s", string(d.Promote), PromoteCopy, PromoteRewrite)
	}
	return validateSizes(d)
}

func validateEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	// The URL itself is not shown: it may contain a password.
	parsed, err := url.Parse(endpoint)
	switch {
	case len(endpoint) > MaxEndpoint:
		return fmt.Errorf("endpointURL: must be at most %d characters, is %d", MaxEndpoint, len(endpoint))
	case !bracketsHoldIPv6(endpoint):
		return errors.New("endpointURL: brackets must contain an IPv6 address")
	case err != nil:
		return errors.New("endpointURL: is not a URL")
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return errors.New("endpointURL: must begin with http:// or https://")
	case parsed.Hostname() == "":
		return errors.New("endpointURL: must name a host")
	case parsed.User != nil:
		return errors.New("endpointURL: must not contain a user or password")
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		return errors.New("endpointURL: must not contain a query or fragment")
	case parsed.Path != "" && parsed.Path != "/":
		return errors.New("endpointURL: must not contain a path: the bucket and keyPrefix have fields of their own")
	case !endpointRegexp.MatchString(endpoint):
		return errors.New("endpointURL: must be an http or https URL with only a host or address and an optional port from 1 to 65535")
	}
	return nil
}

// bracketsHoldIPv6 judges the first pair like the schema's CEL: no zone, and no IPv4
// address in IPv6 notation.
func bracketsHoldIPv6(endpoint string) bool {
	_, after, bracketed := strings.Cut(endpoint, "[")
	if !bracketed {
		return true
	}
	inside, _, _ := strings.Cut(after, "]")
	address, err := netip.ParseAddr(inside)
	return err == nil && address.Is6() && !address.Is4In6() && address.Zone() == ""
}

func validateKeyPrefix(prefix string) error {
	switch {
	case prefix == "":
		return nil
	case len(prefix) > MaxKeyPrefix:
		return fmt.Errorf("keyPrefix: must be at most %d characters, is %d", MaxKeyPrefix, len(prefix))
	case !keyPrefixRegexp.MatchString(prefix):
		return fmt.Errorf("keyPrefix: %.80q must be segments of at most 255 letters, digits, '.', '_' and '-', "+
			"separated by single slashes; no segment starts with a dot", prefix)
	}
	return nil
}

// ownPrefix is KeyPrefix without what ForProbe adds.
func (c Config) ownPrefix() string {
	if !c.probes {
		return c.KeyPrefix
	}
	return strings.TrimSuffix(strings.TrimSuffix(c.KeyPrefix, storage.ProbePrefix), "/")
}

func validateClasses(c Config) error {
	check := func(field, class string) error {
		if class != "" && (len(class) > MaxStorageClass || !storageClassRegexp.MatchString(class)) {
			return fmt.Errorf("%s: %.70q must be at most %d upper-case letters, digits and underscores, not starting with an underscore", field, class, MaxStorageClass)
		}
		return nil
	}
	err := check("storageClass", c.StorageClass)
	for _, tier := range slices.Sorted(maps.Keys(c.StorageClasses)) {
		if err == nil {
			err = check("storageClasses."+tier, c.StorageClasses[tier])
		}
	}
	return err
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
		// A newline at the end of a Secret is a common mistake.
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
	case c.MultipartThresholdBytes < MinMultipartThresholdBytes || c.MultipartThresholdBytes > MaxMultipartThresholdBytes:
		return fmt.Errorf("multipartThresholdBytes: must be %d to %d, is %d", MinMultipartThresholdBytes, int64(MaxMultipartThresholdBytes), c.MultipartThresholdBytes)
	case c.RequestTimeout < MinRequestTimeout || c.RequestTimeout > MaxRequestTimeout:
		return fmt.Errorf("requestTimeout: must be 1s to 10m, is %s", c.RequestTimeout)
	case c.MaxConnections < 1 || c.MaxConnections > MaxMaxConnections:
		return fmt.Errorf("maxConnections: must be 1 to %d, is %d", MaxMaxConnections, c.MaxConnections)
	}
	if len(c.CABundle) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.CABundle) {
		return errors.New("caBundle: contains no PEM certificate")
	}
	return nil
}

// Place describes where the bytes are.
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

// hostOf returns host:port of an endpoint, and nothing else.
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

// join prepends a prefix, which may be empty, to a key.
func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "/" + key
}
