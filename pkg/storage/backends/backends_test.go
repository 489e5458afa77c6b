package backends_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

func bucket(endpoint, name, access, secret string) *s3.Config {
	return &s3.Config{EndpointURL: endpoint, Bucket: name, AccessKey: storage.NewSecret(access), SecretKey: storage.NewSecret(secret)}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := bucket("http://host:9000", "bucket", "a", "s")
	for _, test := range []struct {
		name   string
		config backends.Config
		want   string // prefix of the error
	}{
		{"none", backends.Config{}, "s3, local: "},
		{"both", backends.Config{S3: good, Local: &local.Config{Path: "/srv"}}, "s3, local: "},
		{"s3", backends.Config{S3: good}, ""},
		{"local", backends.Config{Local: &local.Config{Path: "/srv"}}, ""},
		{"no bucket", backends.Config{S3: bucket("http://host", "", "a", "s")}, "s3.bucket: "},
		{"no path", backends.Config{Local: &local.Config{}}, "local.path: "},
	} {
		err := test.config.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, openErr := backends.Open(t.Context(), test.config, nil); err != nil && openErr == nil {
			t.Errorf("%s: opened", test.name)
		}
	}
}

// TestOpenOfWhatIsDown: opening an unreachable bucket succeeds, opening a missing
// folder fails.
func TestOpenOfWhatIsDown(t *testing.T) {
	t.Parallel()
	b, err := backends.Open(t.Context(), backends.Config{S3: bucket("http://no-such-host.invalid", "bucket", "a", "s")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Health(t.Context()); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("Health: %v", err)
	}
	_, err = backends.Open(t.Context(), backends.Config{Local: &local.Config{Path: filepath.Join(t.TempDir(), "missing")}}, nil)
	if !errors.Is(err, storage.ErrNoPlace) {
		t.Errorf("a missing folder: %v", err)
	}
}

// TestProbe runs the small probe on each driver: it succeeds, stays below its
// prefix and leaves no blob.
func TestProbe(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	path := t.TempDir()
	for driver, config := range map[string]backends.Config{
		backends.DriverS3:    {S3: bucket(server.Endpoint, server.Bucket, server.AccessKey, server.SecretKey)},
		backends.DriverLocal: {Local: &local.Config{Path: path}},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			if config.Driver() != driver {
				t.Errorf("driver %s", config.Driver())
			}
			below := config.ForProbe()
			if !strings.Contains(below.Place(), storage.ProbePrefix) || strings.Contains(config.Place(), storage.ProbePrefix) {
				t.Errorf("%s, its probe %s", config.Place(), below.Place())
			}
			if text := fmt.Sprintf("%s %+v %#v", below.Place(), below, below); strings.Contains(text, server.SecretKey) {
				t.Error("the secret key is printed")
			}
			b, err := backends.Open(t.Context(), below, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if r := probe.Small(t.Context(), b); !r.OK() {
				t.Errorf("%+v", r)
			}
			for info, err := range b.List(t.Context()) {
				t.Errorf("left behind: %v, %v", info, err)
			}

			// Of an open backend.
			whole, err := backends.Open(t.Context(), config, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer whole.Close()
			b, err = backends.ForProbe(t.Context(), whole, config, buffer.New(16<<10, 16<<10))
			if err != nil {
				t.Fatal(err)
			}
			info, err := b.Put(t.Context(), storage.Source{Reader: strings.NewReader("x"), Size: 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := whole.Head(t.Context(), info.Digests.SHA256); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("it was put beside the blobs: %v", err)
			}
			if r := probe.Small(t.Context(), b); !r.OK() {
				t.Errorf("%+v", r)
			}
			if err := errors.Join(b.Delete(t.Context(), info.Digests.SHA256), b.Close(), whole.Health(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}
