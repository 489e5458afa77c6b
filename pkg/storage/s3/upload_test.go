package s3_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestBeginLost: the answer to the Create of an upload to staging is lost, once or
// always; the upload is found by its key and aborted.
func TestBeginLost(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for name, lost := range map[string]int64{"once": 1, "always": 1 << 30} {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				t.Parallel()
				var begun atomic.Int64
				var key atomic.Pointer[string]
				server := servers.S3On(t, kind, false)
				config := between{after: func(answer *http.Response) error {
					r := answer.Request
					if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
						key.Store(new(strings.TrimPrefix(r.URL.Path, "/"+server.Bucket+"/")))
						if begun.Add(1) <= lost {
							return errors.New("lost")
						}
					}
					return nil
				}}.config(t, server)
				b := open(t, server, config, buffer.New(16<<20, 8<<20))
				src := storage.Source{Reader: bytes.NewReader(storagetest.Bytes(3, threshold+1)), Size: storage.UnknownSize}
				_, err := b.Put(t.Context(), src)
				if (err != nil) != (name == "always") || err != nil && !errors.Is(err, storage.ErrUnreachable) {
					t.Errorf("Put: %v", err)
				}
				if begun.Load() < 2 {
					t.Errorf("begun %d times", begun.Load())
				}
				// MinIO lists those of an exact key only.
				left, err := client(server).ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket, Prefix: key.Load()})
				if err != nil || len(left.Uploads) > 0 {
					t.Errorf("%d uploads left of %d: %v", len(left.Uploads), begun.Load(), err)
				}
			})
		}
	}
}

// TestCompleteLost: a Complete that never arrives does not count as successful because
// the blob existed before; one that can never arrive leaves no upload. A Complete that
// arrived and whose answer is lost is a success.
func TestCompleteLost(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, test := range []struct {
			name   string
			there  bool // the blob exists before
			drops  int  // number of lost requests
			loses  int  // number of lost answers
			failed bool
		}{
			{"it did not arrive, and the blob was there", true, 1, 0, false},
			{"it arrived, and the blob was there", true, 0, 1, false},
			{"it arrived", false, 0, 2, false},
			{"it never arrives", false, 1 << 30, 0, true},
		} {
			t.Run(string(kind)+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				on, drops, loses := false, test.drops, test.loses
				take := func(r *http.Request, left *int) bool {
					mu.Lock()
					defer mu.Unlock()
					if !on || r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") || *left == 0 {
						return false
					}
					*left--
					return true
				}
				server := servers.S3On(t, kind, false)
				config := between{
					on: func(_ http.ResponseWriter, r *http.Request) bool {
						if take(r, &drops) {
							panic(http.ErrAbortHandler)
						}
						return false
					},
					after: func(answer *http.Response) error {
						if take(answer.Request, &loses) {
							return errors.New("lost")
						}
						return nil
					},
				}.config(t, server)
				b := open(t, server, config, buffer.New(16<<20, 8<<20))
				data := storagetest.Bytes(4, threshold+1)
				key := storage.Key(storageDigest(data))
				if test.there {
					if _, err := b.Put(t.Context(), source(data)); err != nil {
						t.Fatal(err)
					}
				}
				mu.Lock()
				on = true
				mu.Unlock()
				_, err := b.Put(t.Context(), source(data))
				if (err != nil) != test.failed || err != nil && !errors.Is(err, storage.ErrUnreachable) {
					t.Errorf("Put: %v", err)
				}
				if !test.failed && !bytes.Equal(read(t, b, storageDigest(data)), data) {
					t.Error("other bytes came back")
				}
				full := config.KeyPrefix + "/" + key
				left, err := client(server).ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket, Prefix: &full})
				if err != nil || len(left.Uploads) > 0 {
					t.Errorf("%d uploads left: %v", len(left.Uploads), err)
				}
			})
		}
	}
}

// TestCleaningDoesNotHoldUp: a server that hangs from the first part on, including the
// clean-up, delays a caller little beyond its deadline.
func TestCleaningDoesNotHoldUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	var hangs atomic.Bool
	config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
		if isPart(r) {
			hangs.Store(true)
		}
		if hangs.Load() {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		}
		return false
	}}.config(t, servers.S3(t))
	b := newBackend(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	start := time.Now()
	_, err := b.Put(ctx, storage.Source{Reader: bytes.NewReader(storagetest.Bytes(5, threshold+1)), Size: storage.UnknownSize})
	check(t, "Put", err, storage.ErrUnreachable, storage.ReasonTimedOut, config)
	if took := time.Since(start); !hangs.Load() || took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}
