package backends_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// certificate returns one in PEM.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	made, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
}

// full sets every field of a config. A new field must be set here and passed on.
func full(t *testing.T) (*s3.Config, backends.Secrets) {
	secrets := backends.Secrets{
		AccessKey: storage.NewSecret("AN-ACCESS-KEY"), SecretKey: storage.NewSecret("A-SECRET-KEY"), SessionToken: storage.NewSecret("A-TOKEN"),
		CABundle: certificate(t),
	}
	return &s3.Config{
		EndpointURL: "https://s3.example.com", Region: "eu-1", Bucket: "bucket", KeyPrefix: "a/b",
		AccessKey: secrets.AccessKey, SecretKey: secrets.SecretKey, SessionToken: secrets.SessionToken, AllowAmbientCredentials: true,
		StorageClass: "STANDARD", StorageClasses: map[string]string{"cold": "GLACIER_IR"}, SSE: s3.SSEAES256,
		MultipartThresholdBytes: 32 << 20, MultipartChunkBytes: 16 << 20, ForcePathStyle: new(false), CABundle: secrets.CABundle,
		Checksums: s3.ChecksumsWhenRequired, Promote: s3.PromoteRewrite, RequestTimeout: 90 * time.Second, MaxConnections: 7,
	}, secrets
}

func TestDocumentHandsOnEveryField(t *testing.T) {
	t.Parallel()
	config, secrets := full(t)
	value := reflect.ValueOf(*config)
	for i := range value.NumField() {
		if field := value.Type().Field(i); field.IsExported() && value.Field(i).IsZero() {
			t.Errorf("the test leaves %s out", field.Name)
		}
	}
	for name, c := range map[string]backends.Config{
		"all":   {S3: config},
		"least": {S3: bucket("", "bucket", "AN-ACCESS-KEY", "A-SECRET-KEY")},
		"local": {Local: &local.Config{Path: "/srv"}},
	} {
		text, err := c.Document()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"AN-ACCESS-KEY", "A-SECRET-KEY", "A-TOKEN"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s: a secret is in the document: %s", name, text)
			}
		}
		given := secrets
		switch name {
		case "least":
			given = backends.Secrets{AccessKey: secrets.AccessKey, SecretKey: secrets.SecretKey}
		case "local":
			given = backends.Secrets{}
		}
		back, err := backends.Parse(text, given)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: %s gives %+v (%v)", name, text, back, err)
		}
	}
}

// People write documents in the words of a StorageBackend.
func TestParseTakesTheWordsOfSpec(t *testing.T) {
	t.Parallel()
	keys := backends.Secrets{AccessKey: storage.NewSecret("a"), SecretKey: storage.NewSecret("s")}
	for sse, want := range map[string]s3.SSE{"": s3.SSENone, "sse: None": s3.SSENone, "sse: SSE-S3": s3.SSEAES256, "sse: AES256": s3.SSEAES256} {
		if c, err := backends.Parse([]byte("s3: {bucket: bbb, "+sse+"}"), keys); err != nil || c.S3.SSE != want {
			t.Errorf("%q: %+v, %v", sse, c.S3, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	keys := backends.Secrets{AccessKey: storage.NewSecret("a"), SecretKey: storage.NewSecret("VALUE-OF-A-SECRET")}
	for _, tt := range []struct {
		text    string
		secrets backends.Secrets
		says    string
	}{
		{"", keys, "exactly one must be set"},
		{"{", keys, "yaml"},
		{"s3: {bucket: bbb, color: red}", keys, "color"},
		{"s3: {bucket: bbb, accessKey: a}", keys, "accessKey"},
		{"s3: {bucket: bbb}", backends.Secrets{}, "s3.accessKey: must not be empty"},
		{"s3: {bucket: b}", keys, "s3.bucket"},
		{"s3: {bucket: bbb, requestTimeout: soon}", keys, "s3.requestTimeout"},
		{"s3: {bucket: bbb, requestTimeout: 5}", keys, "s3.requestTimeout: must be of type string, is number"},
		{"s3: {bucket: bbb, maxConnections: many}", keys, "s3.maxConnections: must be of type integer, is string"},
		{"s3: {bucket: bbb, color: red}", keys, "s3.color: unknown field"},
		{"s3: 5", keys, "s3: must be an object"},
		{"s3: null", keys, "s3, local: exactly one must be set, neither is"},
		{"s3: {bucket: bbb, sse: KMS}", keys, `s3.sse: "KMS" must be None or SSE-S3`},
		{"local: {path: srv}", backends.Secrets{}, "local.path"},
		{"s3: {bucket: bbb}\nlocal: {path: /srv}", keys, "exactly one must be set"},
	} {
		_, err := backends.Parse([]byte(tt.text), tt.secrets)
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "VALUE-OF-A-SECRET") {
			t.Errorf("%q: %v; want an error that says %q", tt.text, err, tt.says)
		}
	}
}
