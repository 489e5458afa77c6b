package s3

import (
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

func valid() Config {
	return Config{
		EndpointURL: "http://127.0.0.1:9000", Bucket: "bucket",
		AccessKey: storage.NewSecret("access-key-text"), SecretKey: storage.NewSecret("secret-key-text"),
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*Config)
		field  string // named by the error; "" for none
	}{
		{"the least", func(*Config) {}, ""},
		{"Amazon's endpoint", func(c *Config) { c.EndpointURL = "" }, ""},
		{"a slash at the endpoint's end", func(c *Config) { c.EndpointURL += "/" }, ""},
		{"no scheme", func(c *Config) { c.EndpointURL = "127.0.0.1:9000" }, "endpointURL"},
		{"another scheme", func(c *Config) { c.EndpointURL = "ftp://host" }, "endpointURL"},
		{"no host", func(c *Config) { c.EndpointURL = "http://:9000" }, "endpointURL"},
		{"a password", func(c *Config) { c.EndpointURL = "http://user:secret-key-text@host" }, "endpointURL"},
		{"a query", func(c *Config) { c.EndpointURL = "http://host?key=secret-key-text" }, "endpointURL"},
		{"an empty query", func(c *Config) { c.EndpointURL = "http://host?" }, "endpointURL"},
		{"an address", func(c *Config) { c.EndpointURL = "https://[::1]:9000" }, ""},
		{"the last port", func(c *Config) { c.EndpointURL = "http://127.0.0.1:65535" }, ""},
		{"a port beyond", func(c *Config) { c.EndpointURL = "http://127.0.0.1:65536" }, "endpointURL"},
		{"IPv4 in brackets", func(c *Config) { c.EndpointURL = "http://[1.2.3.4]" }, "endpointURL"},
		{"an odd host", func(c *Config) { c.EndpointURL = "http://ho_st,other" }, "endpointURL"},
		{"a fragment", func(c *Config) { c.EndpointURL = "http://host#x" }, "endpointURL"},
		{"a path", func(c *Config) { c.EndpointURL = "http://host/bucket" }, "endpointURL"},
		{"not a URL", func(c *Config) { c.EndpointURL = "http://ho st/%zz" }, "endpointURL"},
		{"a region", func(c *Config) { c.Region = "eu-central-1" }, ""},
		{"an odd region", func(c *Config) { c.Region = "eu/central" }, "region"},
		{"no bucket", func(c *Config) { c.Bucket = "" }, "bucket"},
		{"a short bucket", func(c *Config) { c.Bucket = "ab" }, "bucket"},
		{"a bucket with a slash", func(c *Config) { c.Bucket = "a/b" }, "bucket"},
		{"a bucket with two dots", func(c *Config) { c.Bucket = "a..b" }, "bucket"},
		{"a prefix", func(c *Config) { c.KeyPrefix = "some/prefix" }, ""},
		{"a prefix with a space", func(c *Config) { c.KeyPrefix = "some prefix" }, "keyPrefix"},
		{"a hidden segment", func(c *Config) { c.KeyPrefix = "a/.artifactstore" }, "keyPrefix"},
		{"a slash before the prefix", func(c *Config) { c.KeyPrefix = "/a" }, "keyPrefix"},
		{"a slash behind the prefix", func(c *Config) { c.KeyPrefix = "a/" }, "keyPrefix"},
		{"two dots", func(c *Config) { c.KeyPrefix = "a/../b" }, "keyPrefix"},
		{"a backslash", func(c *Config) { c.KeyPrefix = `a\b` }, "keyPrefix"},
		{"a control character", func(c *Config) { c.KeyPrefix = "a\nb" }, "keyPrefix"},
		{"not UTF-8", func(c *Config) { c.KeyPrefix = "a\xff" }, "keyPrefix"},
		{"a long prefix", func(c *Config) { c.KeyPrefix = strings.Repeat("a/", 300) + "a" }, "keyPrefix"},
		{"a long segment", func(c *Config) { c.KeyPrefix = strings.Repeat("a", 256) }, "keyPrefix"},
		{"no access key", func(c *Config) { c.AccessKey = storage.Secret{} }, "accessKey"},
		{"no secret key", func(c *Config) { c.SecretKey = storage.Secret{} }, "secretKey"},
		{"a newline", func(c *Config) { c.SecretKey = storage.NewSecret("secret-key-text\n") }, "secretKey"},
		{"a space in the token", func(c *Config) { c.SessionToken = storage.NewSecret("a b") }, "sessionToken"},
		{"ambient", func(c *Config) {
			c.AccessKey, c.SecretKey, c.AllowAmbientCredentials = storage.Secret{}, storage.Secret{}, true
		}, ""},
		{"half ambient", func(c *Config) { c.SecretKey, c.AllowAmbientCredentials = storage.Secret{}, true }, "secretKey"},
		{"a class", func(c *Config) { c.StorageClass = "STANDARD_IA" }, ""},
		{"an odd class", func(c *Config) { c.StorageClass = "standard ia" }, "storageClass"},
		{"encryption", func(c *Config) { c.SSE = SSEAES256 }, ""},
		{"a tier's class", func(c *Config) { c.StorageClasses = map[string]string{"cold": "GLACIER_IR"} }, ""},
		{"an odd class of a tier", func(c *Config) { c.StorageClasses = map[string]string{"cold": "deep"} }, "storageClasses.cold"},
		{"keys of a service", func(c *Config) { c.SSE = "aws:kms" }, "sse"},
		{"odd encryption", func(c *Config) { c.SSE = "ROT13" }, "sse"},
		{"odd checksums", func(c *Config) { c.Checksums = "MD5" }, "checksums"},
		{"the smallest part", func(c *Config) { c.MultipartChunkBytes = 5 << 20 }, ""},
		{"too small a part", func(c *Config) { c.MultipartChunkBytes = 5<<20 - 1 }, "multipartChunkBytes"},
		{"too large a part", func(c *Config) { c.MultipartChunkBytes = 64<<20 + 1 }, "multipartChunkBytes"},
		{"too low a threshold", func(c *Config) { c.MultipartThresholdBytes = 5<<20 - 1 }, "multipartThresholdBytes"},
		{"too long a time-out", func(c *Config) { c.RequestTimeout = 11 * time.Minute }, "requestTimeout"},
		{"too many connections", func(c *Config) { c.MaxConnections = 1025 }, "maxConnections"},
		{"a negative threshold", func(c *Config) { c.MultipartThresholdBytes = -1 }, "multipartThresholdBytes"},
		{"too high a threshold", func(c *Config) { c.MultipartThresholdBytes = 6 << 30 }, "multipartThresholdBytes"},
		{"too short a time-out", func(c *Config) { c.RequestTimeout = time.Millisecond }, "requestTimeout"},
		{"no connections", func(c *Config) { c.MaxConnections = -1 }, "maxConnections"},
		{"not PEM", func(c *Config) { c.CABundle = []byte("not PEM") }, "caBundle"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := valid()
			test.change(&config)
			err := config.Validate()
			switch {
			case test.field == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.field != "" && err == nil:
				t.Error("accepted")
			case test.field != "" && !strings.HasPrefix(err.Error(), test.field+": "):
				t.Errorf("the error does not name %s: %v", test.field, err)
			case err != nil && strings.Contains(err.Error(), "key-text"):
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	d := valid().withDefaults()
	if !*d.ForcePathStyle || d.MultipartThresholdBytes != 16<<20 || d.MultipartChunkBytes != 8<<20 || d.Checksums != ChecksumsAuto {
		t.Errorf("%+v", d)
	}
	amazon := valid()
	amazon.EndpointURL = ""
	if *amazon.withDefaults().ForcePathStyle {
		t.Error("path style at Amazon, where it is on its way out")
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	config := valid()
	if got := config.Place(); got != "s3://bucket at 127.0.0.1:9000" {
		t.Error(got)
	}
	config.KeyPrefix = "some/prefix"
	probe := config.ForProbe()
	if got := probe.Place(); got != "s3://bucket/some/prefix/.artifactstore/probe at 127.0.0.1:9000" {
		t.Error(got)
	}
	if err := probe.Validate(); err != nil {
		t.Error(err)
	}
	config.EndpointURL = ""
	if got := config.Place(); got != "s3://bucket/some/prefix in us-east-1" {
		t.Error(got)
	}
}
