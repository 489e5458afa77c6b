package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func storageDigest(data []byte) digest.Digest { return digest.Of(data).SHA256 }

func source(data []byte) storage.Source {
	return storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data)), Want: digest.Of(data)}
}

// between is a proxy before a real server. on may change a request, or answer it
// itself and return true. after may make an answer fail.
type between struct {
	on    func(http.ResponseWriter, *http.Request) bool
	after func(*http.Response) error
	tls   bool // from us to the proxy
}

// config returns the config of a server behind the proxy. Requests keep the host
// that was signed.
func (p between) config(t *testing.T, server servers.S3Server) s3.Config {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
		ModifyResponse: p.after,
		ErrorLog:       quiet(),
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	way := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.on == nil || !p.on(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	config := configFor(server)
	if p.tls {
		way.StartTLS()
		config.CABundle = certificate(way)
	} else {
		way.Start()
	}
	t.Cleanup(way.Close)
	config.EndpointURL = way.URL
	return config
}

// read returns the content of a blob.
func read(t *testing.T, b storage.Store, name digest.Digest) []byte {
	t.Helper()
	r, _, err := b.Get(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func isWhole(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/sha256/") && r.URL.RawQuery == "x-id=PutObject"
}

// flipped turns one bit of what is read.
type flipped struct {
	io.ReadCloser
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[n/2] ^= 4
		f.done = true
	}
	return n, err
}

// TestDamagedOnTheWay: a bit that turns between us and the server must never become
// part of a blob, in any mode and in either way of storing. RGW does not verify
// CRC-32C, so Auto has to find that out.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	for _, variant := range []struct {
		kind      servers.S3Kind
		checksums s3.Checksums
	}{
		{servers.VersityGW, s3.ChecksumsWhenSupported},
		{servers.VersityGW, s3.ChecksumsWhenRequired},
		{servers.VersityGW, s3.ChecksumsAuto},
		{servers.MinIO, s3.ChecksumsAuto},
		{servers.RGW, s3.ChecksumsAuto},
		{servers.RGW, s3.ChecksumsWhenRequired},
	} {
		for way, size := range map[string]int64{"whole": 1000, "in parts": threshold + 1} {
			for _, always := range []bool{true, false} {
				name := fmt.Sprint(variant.kind, "/", variant.checksums, "/", way)
				if !always {
					name += "/once"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					var damaged atomic.Int64
					server := servers.S3On(t, variant.kind, false)
					config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
						if (isPart(r) || isWhole(r)) && (damaged.Add(1) == 1 || always) {
							r.Body = &flipped{ReadCloser: r.Body}
						}
						return false
					}}.config(t, server)
					config.Checksums = variant.checksums
					b := open(t, server, config, buffer.New(16<<20, 8<<20))
					data := storagetest.Bytes(1, size)
					_, err := b.Put(t.Context(), source(data))
					if !always { // it is retried
						if err != nil {
							t.Fatal(err)
						}
						if got := read(t, b, storageDigest(data)); !bytes.Equal(got, data) {
							t.Error("other bytes came back")
						}
						return
					}
					if err == nil {
						t.Fatal("stored what the server should have refused")
					}
					check(t, "Put", err, storage.ErrUnreachable, storage.ReasonDamagedInTransit, config)
					if damaged.Load() == 0 {
						t.Error("nothing was damaged")
					}
					if left := keys(t, b); len(left) > 0 {
						t.Errorf("left behind: %q", left)
					}
				})
			}
		}
	}
}

// TestAnswersLost: the server executes each request, but its first answer is lost.
// Put succeeds anyway.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	for way, src := range map[string]storage.Source{
		"whole":    source(storagetest.Bytes(1, 1000)),
		"in parts": source(storagetest.Bytes(2, threshold+1)),
		"staged":   {Reader: bytes.NewReader(storagetest.Bytes(3, threshold+1)), Size: storage.UnknownSize},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			var (
				mu   sync.Mutex
				seen = map[string]bool{}
				lost int
			)
			server := servers.S3(t)
			config := between{after: func(answer *http.Response) error {
				r := answer.Request
				query := r.URL.Query()
				creates := r.Method == http.MethodPost && query.Has("uploads")
				if (r.Method != http.MethodPut && r.Method != http.MethodPost) || creates {
					return nil // a second Create is a second upload, whose id is unknown
				}
				mu.Lock()
				defer mu.Unlock()
				if key := r.Method + r.URL.Path + query.Get("partNumber"); !seen[key] {
					seen[key] = true
					lost++
					return errors.New("lost")
				}
				return nil
			}}.config(t, server)
			b := open(t, server, config, buffer.New(16<<20, 8<<20))
			info, err := b.Put(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			if lost == 0 {
				t.Error("no answer was lost")
			}
			if left := keys(t, b); len(left) != 1 || left[0] != storage.Key(info.Digests.SHA256) {
				t.Errorf("the bucket holds %q", left)
			}
		})
	}
}

// TestShortAnswer: an answer that is interrupted is not the end: the driver requests the rest.
func TestShortAnswer(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	config := between{after: func(answer *http.Response) error {
		if answer.Request.Method == http.MethodGet && strings.Contains(answer.Request.URL.Path, "/sha256/") {
			answer.Body = struct {
				io.Reader
				io.Closer
			}{io.LimitReader(answer.Body, 700), answer.Body}
		}
		return nil
	}}.config(t, server)
	b := newBackend(t, config)
	data := storagetest.Bytes(1, 1000)
	if _, err := b.Put(t.Context(), source(data)); err != nil {
		t.Fatal(err)
	}
	r, _, err := b.Get(t.Context(), storageDigest(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came: %v", len(got), len(data), err)
	}
}

// TestSmallAtOnce: small blobs are in transit together, whatever the number of buffers.
func TestSmallAtOnce(t *testing.T) {
	t.Parallel()
	const puts = 20
	var arrived sync.WaitGroup
	arrived.Add(puts)
	server := servers.S3(t)
	config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
		if isWhole(r) {
			arrived.Done()
			arrived.Wait() // for all of them
		}
		return false
	}}.config(t, server)
	b := open(t, server, config, buffer.New(8<<20, 8<<20)) // one
	var group errgroup.Group
	for i := range puts {
		group.Go(func() error {
			src := source(storagetest.Bytes(uint64(i), 4096))
			if i%2 == 0 {
				src.Size, src.Want = storage.UnknownSize, digest.Dual{}
			}
			_, err := b.Put(t.Context(), src)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if stored := keys(t, b); len(stored) != puts {
		t.Errorf("the bucket holds %d objects", len(stored))
	}
}

// TestHashedOnce: the signature of a request for a whole blob uses the digest that
// names it, that for a part uses what the mode says.
func TestHashedOnce(t *testing.T) {
	t.Parallel()
	var whole, part atomic.Pointer[http.Header]
	server := servers.S3(t)
	config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
		header := r.Header.Clone()
		switch {
		case isWhole(r):
			whole.Store(&header)
		case isPart(r):
			part.Store(&header)
		}
		return false
	}}.config(t, server)
	b := newBackend(t, config)
	small := storagetest.Bytes(1, 1000)
	for _, data := range [][]byte{small, storagetest.Bytes(2, threshold+1)} {
		if _, err := b.Put(t.Context(), source(data)); err != nil {
			t.Fatal(err)
		}
	}
	if got := whole.Load().Get("X-Amz-Content-Sha256"); got != storageDigest(small).Hex() {
		t.Errorf("whole: signed %q", got)
	}
	if got := part.Load().Get("X-Amz-Content-Sha256"); got != "UNSIGNED-PAYLOAD" {
		t.Errorf("part: signed %q", got)
	}
	if part.Load().Get("X-Amz-Checksum-Crc32c") == "" {
		t.Errorf("part: no checksum: %v", *part.Load())
	}
}

// TestTLS: the SDK treats bodies differently over https, where old servers
// refuse what it does by default.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, checksums := range []s3.Checksums{s3.ChecksumsWhenSupported, s3.ChecksumsWhenRequired} {
		t.Run(string(checksums), func(t *testing.T) {
			t.Parallel()
			config := between{tls: true, on: func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("X-Amz-Trailer") != "" || r.Header.Get("Content-Encoding") != "" || r.ContentLength < 0 {
					t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
				}
				if (isWhole(r) || isPart(r) && checksums == s3.ChecksumsWhenRequired) && len(r.Header.Get("X-Amz-Content-Sha256")) != 64 {
					t.Errorf("%s %s is signed as %q", r.Method, r.URL, r.Header.Get("X-Amz-Content-Sha256"))
				}
				return false
			}}.config(t, servers.S3(t))
			config.Checksums = checksums
			b := newBackend(t, config)
			for i, size := range []int64{0, 1000, threshold + 1, threshold + 1} {
				data := storagetest.Bytes(uint64(i), size)
				src := source(data)
				if i == 3 {
					src.Size, src.Want = storage.UnknownSize, digest.Dual{}
				}
				if _, err := b.Put(t.Context(), src); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				r, _, err := b.Get(t.Context(), storageDigest(data), nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				r.Close()
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes came back: %v", len(got), size, err)
				}
			}
		})
	}
}

// storageDigestOf returns the digests of size zero bytes.
func storageDigestOf(size int64) digest.Dual {
	dual, _, err := digest.Copy(io.Discard, io.LimitReader(zeros{}, size))
	if err != nil {
		panic(err)
	}
	return dual
}
