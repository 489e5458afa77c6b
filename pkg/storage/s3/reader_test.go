package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// wire is a connection to a server that breaks.
type wire struct {
	net.Listener
	target string
	// after returns how many bytes of answers a connection carries before cut is called.
	after func() int64
	// cut gets the connection then, and what the server still sends on it; the
	// connection is closed afterwards.
	cut func(conn, server net.Conn)

	made, open atomic.Int64 // connections
}

// through starts the wire and returns the server's config with its endpoint. Requests
// keep the host that was signed.
func (w *wire) through(t *testing.T, server servers.S3Server) s3.Config {
	t.Helper()
	config := configFor(server)
	scheme, target, _ := strings.Cut(config.EndpointURL, "://")
	w.target = target
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.Listener = listener
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.made.Add(1)
			w.open.Add(1)
			go w.carry(conn)
		}
	}()
	config.EndpointURL = scheme + "://" + listener.Addr().String()
	return config
}

func (w *wire) carry(conn net.Conn) {
	defer w.open.Add(-1)
	defer conn.Close()
	server, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, conn)
		server.Close() // ends the copy below
	}()
	if _, err := io.CopyN(conn, server, w.after()); err == nil && w.cut != nil {
		w.cut(conn, server)
	}
}

// everyServer runs test on each kind of server, over http and https.
func everyServer(t *testing.T, test func(t *testing.T, start func(testing.TB) servers.S3Server)) {
	t.Helper()
	for _, kind := range servers.S3Kinds {
		for scheme, secure := range map[string]bool{"http": false, "https": true} {
			t.Run(string(kind)+"/"+scheme, func(t *testing.T) {
				t.Parallel()
				test(t, func(tb testing.TB) servers.S3Server { return servers.S3On(tb, kind, secure) })
			})
		}
	}
}

// store puts data without a wire.
func store(t *testing.T, server servers.S3Server, data []byte) {
	t.Helper()
	if _, err := newBackend(t, configFor(server)).Put(t.Context(), source(data)); err != nil {
		t.Fatal(err)
	}
}

// TestResumed: connections that break at any byte cost requests, but no bytes.
func TestResumed(t *testing.T) {
	t.Parallel()
	const size, leastCarried = threshold + 1<<20 + 7, 250_000 // it is uploaded in parts
	everyServer(t, func(t *testing.T, start func(testing.TB) servers.S3Server) {
		server := start(t)
		data := storagetest.Bytes(1, size)
		store(t, server, data)
		// Each carries enough to count as progress.
		w := &wire{after: func() int64 { return leastCarried + rand.Int64N(1<<(10+rand.N(13))) }}
		config := w.through(t, server)
		for _, rng := range []*storage.Range{
			nil, {Offset: 0, Length: size}, {Offset: 0, Length: 3 << 20}, {Offset: 1 << 20, Length: 1<<20 + 3},
			{Offset: size - 5, Length: 5}, {Offset: 4<<20 + 1, Length: size - 4<<20 - 1},
		} {
			w.made.Store(0)
			want := data
			if rng != nil {
				want = data[rng.Offset : rng.Offset+rng.Length]
			}
			b := newBackend(t, config) // has a budget of its own
			r, info, err := b.Get(t.Context(), storageDigest(data), rng)
			if err != nil {
				t.Fatalf("%v: %v", rng, err)
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || !bytes.Equal(got, want) || info.Size != size {
				t.Errorf("%v: %d of %d bytes of %d (%v), equal: %t", rng, len(got), len(want), info.Size, err, bytes.Equal(got, want))
			}
			if made := w.made.Load(); made > int64(len(want))/(leastCarried-10_000)+2 { // minus the bytes of TLS and headers
				t.Errorf("%v: %d connections", rng, made)
			}
		}
	})
}

// TestBreaksWithoutEnd: a connection that always breaks early ends in an error, after
// a number of connections that does not depend on the object's size.
func TestBreaksWithoutEnd(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	data := storagetest.Bytes(1, 4<<20)
	store(t, server, data)
	w := &wire{after: func() int64 { return 10_000 }}
	config := w.through(t, server)
	r, _, err := newBackend(t, config).Get(t.Context(), storageDigest(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	check(t, "Read", err, storage.ErrUnreachable, storage.ReasonConnectionLost, config)
	if !bytes.HasPrefix(data, got) {
		t.Error("the bytes that came are not the object's")
	}
	if made := w.made.Load(); made < 3 || made > 8 {
		t.Errorf("%d connections", made)
	}
	if _, again := r.Read(make([]byte, 1)); again == nil || again == io.EOF {
		t.Errorf("the next Read: %v", again)
	}
}

// TestStalled: a body that stops moving ends by the timeout and is resumed like an interrupted one.
func TestStalled(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	data := storagetest.Bytes(1, 1<<20)
	store(t, server, data)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	var stalls atomic.Int64
	w := &wire{
		after: func() int64 {
			if stalls.Add(1) > 2 {
				return 2 << 20
			}
			return 300_000
		},
		cut: func(net.Conn, net.Conn) { <-done },
	}
	config := w.through(t, server)
	config.RequestTimeout = time.Second
	r, _, err := newBackend(t, config).Get(t.Context(), storageDigest(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes: %v", len(got), len(data), err)
	}
	if w.made.Load() != 3 {
		t.Errorf("%d connections, want 3", w.made.Load())
	}
}

// TestDamagedUnderTLS: a bit that turns below TLS costs the connection, and no wrong byte is returned.
func TestDamagedUnderTLS(t *testing.T) {
	t.Parallel()
	server := servers.S3On(t, servers.VersityGW, true)
	data := storagetest.Bytes(1, 1<<20)
	store(t, server, data)
	var turned atomic.Int64
	w := &wire{after: func() int64 { return 300_000 }, cut: func(conn, server net.Conn) {
		p := make([]byte, 1)
		if _, err := io.ReadFull(server, p); err == nil {
			turned.Add(1)
			conn.Write([]byte{p[0] ^ 4})
			io.Copy(conn, server)
		}
	}}
	r, _, err := newBackend(t, w.through(t, server)).Get(t.Context(), storageDigest(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes, which are the object's: %t; %v", len(got), len(data), bytes.HasPrefix(data, got), err)
	}
	if turned.Load() == 0 {
		t.Error("no bit was turned")
	}
}

// TestChangedMeanwhile: the reader returns the bytes of one object only.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	everyServer(t, func(t *testing.T, start func(testing.TB) servers.S3Server) {
		for name, test := range map[string]struct {
			body   []byte // nil: it is deleted
			kind   error
			reason string
		}{
			"replaced": {storagetest.Bytes(2, 4<<20), storage.ErrUnreachable, storage.ReasonChanged},
			"cut":      {storagetest.Bytes(1, 1000), storage.ErrUnreachable, storage.ReasonChanged},
			"deleted":  {nil, storage.ErrNotFound, storage.ReasonNotFound},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				server := start(t)
				data := storagetest.Bytes(1, 4<<20)
				store(t, server, data)
				var replaced sync.Once
				w := &wire{after: func() int64 { return 1 << 20 }, cut: func(net.Conn, net.Conn) {
					key := aws.String("some/prefix/" + storage.Key(storageDigest(data)))
					replaced.Do(func() {
						var err error
						if test.body == nil {
							_, err = server.Client().DeleteObject(context.Background(), &sdk.DeleteObjectInput{Bucket: &server.Bucket, Key: key})
						} else {
							_, err = server.Client().PutObject(context.Background(), &sdk.PutObjectInput{Bucket: &server.Bucket, Key: key, Body: bytes.NewReader(test.body)})
						}
						if err != nil {
							t.Error(err)
						}
					})
				}}
				config := w.through(t, server)
				r, _, err := newBackend(t, config).Get(t.Context(), storageDigest(data), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				got, err := io.ReadAll(r)
				check(t, "Read", err, test.kind, test.reason, config)
				if len(got) == 0 || !bytes.HasPrefix(data, got) {
					t.Errorf("%d bytes that are not the object's", len(got))
				}
			})
		}
	})
}

// TestPassesOverConditions: the answer of a server that ignores If-Match is not taken
// for the rest, nor is an answer without a length or with another range.
func TestPassesOverConditions(t *testing.T) {
	t.Parallel()
	data := storagetest.Bytes(1, 100_000)
	half := len(data) / 2
	for name, test := range map[string]struct {
		first, then func(http.ResponseWriter)
		reason      string
	}{
		"another tag": {reason: storage.ReasonChanged, then: func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"other"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half, len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[half:])
		}},
		"another size": {reason: storage.ReasonChanged, then: func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"tag"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half, len(data)-1, len(data)+1))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[half:])
		}},
		"another range": {reason: storage.ReasonServerFailed, then: func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"tag"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half-1, len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[half-1:])
		}},
		"everything": {reason: storage.ReasonServerFailed, then: func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"tag"`)
			w.Write(data)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") == "" {
					w.Header().Set("ETag", `"tag"`)
					w.Header().Set("Content-Length", fmt.Sprint(len(data)))
					w.Write(data[:half])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				}
				if r.Header.Get("If-Match") != `"tag"` || r.Header.Get("Range") != fmt.Sprintf("bytes=%d-%d", half, len(data)-1) {
					t.Errorf("resumed by %v", r.Header)
				}
				test.then(w)
			}))
			t.Cleanup(server.Close)
			config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
			r, _, err := newBackend(t, config).Get(t.Context(), storageDigest(data), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			check(t, "Read", err, storage.ErrUnreachable, test.reason, config)
			if !bytes.Equal(got, data[:half]) {
				t.Errorf("%d bytes, want %d", len(got), half)
			}
		})
	}
	t.Run("no length", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"tag"`)
			w.(http.Flusher).Flush() // chunked
			w.Write(data)
		}))
		t.Cleanup(server.Close)
		config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
		_, _, err := newBackend(t, config).Get(t.Context(), storageDigest(data), nil)
		check(t, "Get", err, storage.ErrUnreachable, storage.ReasonServerFailed, config)
	})
}

// TestLeftEarly: a reader that is left in a body or in a pause keeps no connection and does not wait.
func TestLeftEarly(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	data := storagetest.Bytes(1, 8<<20)
	store(t, server, data)
	for name, after := range map[string]int64{"in a body": 100 << 20, "after a break": 1 << 20} {
		for _, way := range []string{"closed", "cancelled"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				w := &wire{after: func() int64 { return after }}
				b := newBackend(t, w.through(t, server))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, _, err := b.Get(ctx, storageDigest(data), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, r, 500_000); err != nil {
					t.Fatal(err)
				}
				if way == "cancelled" {
					cancel()
					if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
						t.Errorf("cancelled: %v", err)
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("Read after Close: %v", err)
				}
				deadline := time.Now().Add(5 * time.Second)
				for w.open.Load() > 0 {
					if time.Now().After(deadline) {
						t.Fatalf("%d connections stay open", w.open.Load())
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
	}
}
