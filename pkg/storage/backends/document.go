package backends

import (
	"fmt"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// Secrets are the values of a Config that a document never contains.
type Secrets struct {
	AccessKey, SecretKey, SessionToken storage.Secret
	// CABundle is PEM. It is not a secret, but comes from the same source.
	CABundle []byte
}

// document is a Config without its secrets, as passed to another process or
// written by a person. Its fields have the names and values of a StorageBackend's
// spec; sse may also be AES256, the driver's value, which processes write. Fields
// may be added, but never changed: writer and reader may be of different versions.
type document struct {
	S3    *s3Document    `json:"s3,omitempty"`
	Local *localDocument `json:"local,omitempty"`
}

type localDocument struct {
	Path string `json:"path"`
}

type s3Document struct {
	EndpointURL             string            `json:"endpointURL,omitempty"`
	Region                  string            `json:"region,omitempty"`
	Bucket                  string            `json:"bucket"`
	KeyPrefix               string            `json:"keyPrefix,omitempty"`
	AllowAmbientCredentials bool              `json:"allowAmbientCredentials,omitempty"`
	StorageClass            string            `json:"storageClass,omitempty"`
	StorageClasses          map[string]string `json:"storageClasses,omitempty"`
	SSE                     s3.SSE            `json:"sse,omitempty"`
	MultipartThresholdBytes int64             `json:"multipartThresholdBytes,omitempty"`
	MultipartChunkBytes     int64             `json:"multipartChunkBytes,omitempty"`
	ForcePathStyle          *bool             `json:"forcePathStyle,omitempty"`
	Checksums               s3.Checksums      `json:"checksums,omitempty"`
	RequestTimeout          string            `json:"requestTimeout,omitempty"` // such as 1m30s
	MaxConnections          int               `json:"maxConnections,omitempty"`
}

// sseWords maps the values of a StorageBackend and of the driver to the driver's.
var sseWords = map[s3.SSE]s3.SSE{s3.SSENone: s3.SSENone, s3.SSEAES256: s3.SSEAES256, "None": s3.SSENone, "SSE-S3": s3.SSEAES256}

// Document returns the config as JSON without its secrets, for Parse.
func (c Config) Document() ([]byte, error) {
	var d document
	switch {
	case c.S3 != nil:
		d.S3 = &s3Document{
			EndpointURL: c.S3.EndpointURL, Region: c.S3.Region, Bucket: c.S3.Bucket, KeyPrefix: c.S3.KeyPrefix,
			AllowAmbientCredentials: c.S3.AllowAmbientCredentials, StorageClass: c.S3.StorageClass, StorageClasses: c.S3.StorageClasses,
			SSE: c.S3.SSE, MultipartThresholdBytes: c.S3.MultipartThresholdBytes, MultipartChunkBytes: c.S3.MultipartChunkBytes,
			ForcePathStyle: c.S3.ForcePathStyle, Checksums: c.S3.Checksums, MaxConnections: c.S3.MaxConnections,
		}
		if c.S3.RequestTimeout != 0 {
			d.S3.RequestTimeout = c.S3.RequestTimeout.String()
		}
	case c.Local != nil:
		d.Local = &localDocument{Path: c.Local.Path}
	}
	text, err := yaml.Marshal(d)
	if err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(text)
}

// Parse reads a document, in JSON or YAML, and adds the secrets; a folder has
// none. The Config is ready to open. It never creates a place: a folder must
// exist. Errors name the field.
func Parse(text []byte, secrets Secrets) (Config, error) {
	var d document
	if err := yaml.UnmarshalStrict(text, &d); err != nil {
		return Config{}, err
	}
	var c Config
	if d.Local != nil {
		c.Local = &local.Config{Path: d.Local.Path}
	}
	if d.S3 != nil {
		sse, known := sseWords[d.S3.SSE]
		if !known {
			return Config{}, fmt.Errorf("s3.sse: %.40q must be None or SSE-S3", string(d.S3.SSE))
		}
		c.S3 = &s3.Config{
			EndpointURL: d.S3.EndpointURL, Region: d.S3.Region, Bucket: d.S3.Bucket, KeyPrefix: d.S3.KeyPrefix,
			AccessKey: secrets.AccessKey, SecretKey: secrets.SecretKey, SessionToken: secrets.SessionToken,
			AllowAmbientCredentials: d.S3.AllowAmbientCredentials, StorageClass: d.S3.StorageClass, StorageClasses: d.S3.StorageClasses,
			SSE: sse, MultipartThresholdBytes: d.S3.MultipartThresholdBytes, MultipartChunkBytes: d.S3.MultipartChunkBytes,
			ForcePathStyle: d.S3.ForcePathStyle, CABundle: secrets.CABundle, Checksums: d.S3.Checksums, MaxConnections: d.S3.MaxConnections,
		}
		if text := d.S3.RequestTimeout; text != "" {
			timeout, err := time.ParseDuration(text)
			if err != nil || timeout == 0 {
				return Config{}, fmt.Errorf("s3.requestTimeout: %.40q must be a duration such as 1m", text)
			}
			c.S3.RequestTimeout = timeout
		}
	}
	return c, c.Validate()
}
