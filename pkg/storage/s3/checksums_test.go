package s3_test

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestAutoFindsOut: over http, Auto asks the server once what it verifies, leaves
// no object behind, and protects parts accordingly.
func TestAutoFindsOut(t *testing.T) {
	t.Parallel()
	for kind, crc := range map[servers.S3Kind]bool{servers.VersityGW: true, servers.MinIO: true, servers.RGW: false} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			var asked, withCRC, signed atomic.Int64
			server := servers.S3On(t, kind, false)
			config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method == http.MethodPut && strings.Contains(r.URL.Path, storage.ProbePrefix):
					asked.Add(1)
				case isPart(r) && r.Header.Get("X-Amz-Checksum-Crc32c") != "":
					withCRC.Add(1)
				case isPart(r) && len(r.Header.Get("X-Amz-Content-Sha256")) == 64:
					signed.Add(1)
				}
				return false
			}}.config(t, server)
			b := open(t, server, config, buffer.New(64<<20, 8<<20))
			var puts errgroup.Group
			for i := range 3 {
				puts.Go(func() error {
					_, err := b.Put(t.Context(), source(storagetest.Bytes(uint64(i), threshold+1)))
					return err
				})
			}
			if err := puts.Wait(); err != nil {
				t.Fatal(err)
			}
			if asked.Load() != 1 {
				t.Errorf("asked %d times", asked.Load())
			}
			if crc && (withCRC.Load() != 6 || signed.Load() != 0) || !crc && (withCRC.Load() != 0 || signed.Load() != 6) {
				t.Errorf("%d parts with a CRC-32C, %d with a signed SHA-256", withCRC.Load(), signed.Load())
			}
			if left := keys(t, b); len(left) != 3 {
				t.Errorf("the bucket holds %q", left)
			}
		})
	}
}

// TestAutoWithoutAnAnswer: if the check is refused or interrupted, parts are signed.
// A refusal is remembered, an outage only for a while.
func TestAutoWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int64{http.StatusForbidden: 1, http.StatusBadGateway: 2} {
		var asked, signed atomic.Int64
		server := servers.S3(t)
		config := between{on: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, storage.ProbePrefix) {
				if r.Method == http.MethodPut {
					asked.Add(1)
				}
				w.WriteHeader(status)
				return true
			}
			if isPart(r) && len(r.Header.Get("X-Amz-Content-Sha256")) == 64 {
				signed.Add(1)
			}
			return false
		}}.config(t, server)
		b := open(t, server, config, buffer.New(16<<20, 8<<20))
		put := func(times int, asks int64) {
			for range times {
				if _, err := b.Put(t.Context(), source(storagetest.Bytes(uint64(signed.Load()), threshold+1))); err != nil {
					t.Fatal(err)
				}
			}
			if asked.Load() != asks {
				t.Errorf("%d: asked %d times, want %d", status, asked.Load(), asks)
			}
		}
		put(2, 1)
		s3.AskAgain(b.Backend)
		put(1, want)
		if signed.Load() != 6 {
			t.Errorf("%d: %d parts signed", status, signed.Load())
		}
	}
}

// TestChecksumsOverTLS: every server accepts every mode over https.
func TestChecksumsOverTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, checksums := range []s3.Checksums{s3.ChecksumsAuto, s3.ChecksumsWhenRequired, s3.ChecksumsWhenSupported} {
			t.Run(string(kind)+"/"+string(checksums), func(t *testing.T) {
				t.Parallel()
				server := servers.S3On(t, kind, true)
				config := configFor(server)
				config.CABundle, config.Checksums = server.CA, checksums
				b := newBackend(t, config)
				for i, size := range []int64{0, 1000, threshold + 1, threshold + 1} {
					data := storagetest.Bytes(uint64(i), size)
					src := source(data)
					if i == 3 {
						src = storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize}
					}
					if _, err := b.Put(t.Context(), src); err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
					if got := read(t, b, storageDigest(data)); !bytes.Equal(got, data) {
						t.Errorf("%d of %d bytes came back", len(got), size)
					}
				}
			})
		}
	}
}
