package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// flaky closes the first connections without an answer, after they have sent something.
type flaky struct {
	net.Listener
	left  atomic.Int32
	tried atomic.Int32
}

func (f *flaky) Accept() (net.Conn, error) {
	for {
		connection, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		f.tried.Add(1)
		if f.left.Add(-1) < 0 {
			return connection, nil
		}
		connection.Read(make([]byte, 1<<10))
		connection.Close()
	}
}

func flakyClient(t *testing.T, failures int32) (*client.Client, *flaky) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unreliable := &flaky{Listener: listener}
	unreliable.left.Store(failures)
	fixture := registrytest.OpenService(t, "")
	server := serving.NewServer(server.NewHandler(fixture.Registry, server.Options{Logger: quiet()}))
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(unreliable) }()
	t.Cleanup(func() { server.Close(); <-done })
	return newClient(t, listener.Addr().String()), unreliable
}

func TestRepeatsWhatMayBeRepeated(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	open := registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "a", Name: "b", Version: "c"}, RetentionClass: "d"}

	client, listener := flakyClient(t, 2)
	if _, err := client.Health(ctx); err != nil || listener.tried.Load() != 3 {
		t.Errorf("got %v after %d connections, want an answer on the third", err, listener.tried.Load())
	}
	client, listener = flakyClient(t, 9)
	if _, err := client.Health(ctx); err == nil || listener.tried.Load() != 3 {
		t.Errorf("got %v after %d connections, want the end after the third", err, listener.tried.Load())
	}
	client, listener = flakyClient(t, 2)
	if _, err := client.OpenUpload(ctx, open); err != nil || listener.tried.Load() != 3 {
		t.Errorf("got %v after %d connections, want a session on the third", err, listener.tried.Load())
	}
	client, listener = flakyClient(t, 1)
	piece := registry.Piece{Content: registry.Content{Reader: strings.NewReader("x"), Size: 1}, Length: 1, Complete: true}
	if _, err := client.AppendFile(ctx, "id", "a", piece); err == nil || listener.tried.Load() != 1 {
		t.Errorf("got %v after %d connections: appending is not repeated", err, listener.tried.Load())
	}

	client, listener = flakyClient(t, 0)
	upload, err := client.OpenUpload(ctx, open)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		reader io.Reader
		ok     bool
	}{
		"bytes.Reader": {bytes.NewReader([]byte("skip" + text)), true},
		"plain reader": {io.MultiReader(strings.NewReader(text)), false},
	} {
		client.Close() // so that the next connection is a new one
		listener.left.Store(1)
		if seeker, ok := c.reader.(io.Seeker); ok {
			seeker.Seek(4, io.SeekStart)
		}
		file, err := client.PutFile(ctx, upload.ID, name, registry.Content{Reader: c.reader, Size: int64(len(text)), Digests: digest.Of([]byte(text))})
		if (err == nil) != c.ok || c.ok && file.Digests != digest.Of([]byte(text)) {
			t.Errorf("%s: got %+v, %v", name, file, err)
		}
		listener.left.Store(0)
	}
}

// turn is one server's share of a listener that servers take turns at.
type turn struct {
	net.Listener
	accepted <-chan net.Conn
	over     chan struct{}
}

func (t turn) Accept() (net.Conn, error) {
	select {
	case connection := <-t.accepted:
		return connection, nil
	case <-t.over:
		return nil, net.ErrClosed
	}
}

func (t turn) Close() error { close(t.over); return nil }

// TestServersTakeTurns: a server that is replaced by another closes connections
// just when the next request is sent on them. Nobody sees it.
func TestServersTakeTurns(t *testing.T) {
	t.Parallel()
	const turns, clients = 20, 4
	for _, how := range []string{"http", "https", "HTTP2"} { // the last as proxies speak it
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			accepted := make(chan net.Conn)
			var accepting, asking sync.WaitGroup
			accepting.Go(func() {
				for {
					connection, err := listener.Accept()
					if err != nil {
						return
					}
					accepted <- connection
				}
			})
			fixture := registrytest.OpenService(t, "")
			next := func() *httptest.Server {
				server := httptest.NewUnstartedServer(server.NewHandler(fixture.Registry, server.Options{Logger: quiet()}))
				server.Listener.Close()
				server.Listener, server.EnableHTTP2 = turn{listener, accepted, make(chan struct{})}, how == "HTTP2"
				server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				if how == "http" {
					server.Start()
				} else {
					server.StartTLS()
				}
				return server
			}
			leave := func(server *httptest.Server) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // it gives new connections 5 s
				defer cancel()
				err := server.Config.Shutdown(ctx)
				if how == "HTTP2" && err != nil {
					err = server.Config.Close() // Shutdown may wait without end for a connection that was just being opened
				}
				if err != nil {
					t.Error(err)
				}
			}
			server := next()
			client, err := client.New(server.URL, client.Options{Transport: server.Client().Transport})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			ctx, stop := context.WithCancel(t.Context())
			var asked atomic.Int64
			for range clients {
				asking.Go(func() {
					open := registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "a", Name: "b", Version: "c"}, RetentionClass: "d"}
					text := bytes.Repeat([]byte("x"), 100_000)
					for ctx.Err() == nil {
						upload, err := client.OpenUpload(context.WithoutCancel(ctx), open)
						if err == nil {
							_, err = client.PutFile(context.WithoutCancel(ctx), upload.ID, "a", registry.Content{Reader: bytes.NewReader(text), Size: int64(len(text)), Digests: digest.Of(text)})
						}
						if err != nil {
							t.Errorf("request %d: %v", asked.Load(), err)
							return
						}
						asked.Add(1)
					}
				})
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for range turns {
				before := asked.Load()
				for asked.Load() < before+10 && !t.Failed() {
					<-tick.C
				}
				after := next()
				leave(server)
				server = after
			}
			stop()
			asking.Wait()
			listener.Close()
			leave(server)
			accepting.Wait()
		})
	}
}

func TestNoAnswerOfARegistry(t *testing.T) {
	t.Parallel()
	name := digest.Of(nil).SHA256
	for _, handler := range []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, // some other server: says nothing about a blob
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
	} {
		client := newClient(t, serve(t, handler))
		_, err := client.HeadBlob(context.Background(), name)
		if err == nil || errors.Is(err, registry.ErrNotFound) {
			t.Errorf("HeadBlob: got %v", err)
		}
		if _, err = client.Health(context.Background()); err == nil || errors.Is(err, registry.ErrNotFound) {
			t.Errorf("Health: got %v", err)
		}
	}
	// Bytes that are not those of their name.
	client := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "forged") })))
	if _, err := client.GetManifest(context.Background(), name); err == nil {
		t.Error("a forged manifest was taken")
	}
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost:8080", "ftp://x", "http://", "http://user:password@x", "http://x?a=b", "http://x#a", "http://x:y"} {
		if _, err := client.New(address, client.Options{}); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%q: got %v", address, err)
		} else if strings.Contains(err.Error(), "password") {
			t.Errorf("the password shows: %v", err)
		}
	}
}

// TestMountedBelowAPath: a client's base may have a path, and what it asks for carries its token.
func TestMountedBelowAPath(t *testing.T) {
	t.Parallel()
	fixture := registrytest.OpenService(t, "")
	handler := http.StripPrefix("/mounted/here", server.NewHandler(fixture.Registry, server.Options{Logger: quiet()}))
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" || r.Header.Get("User-Agent") != "test" {
			t.Errorf("headers %v", r.Header)
		}
		handler.ServeHTTP(w, r)
	}))
	client, err := client.New("http://"+address+"/mounted/here/", client.Options{Token: func() (storage.Secret, error) { return storage.NewSecret("token"), nil }, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx := context.Background()
	upload, err := client.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "a", Name: "b", Version: "c"}, RetentionClass: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutFile(ctx, upload.ID, "x/ä ?#%", registry.Content{Reader: strings.NewReader("a"), Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutFile(ctx, upload.ID, "../x", registry.Content{Reader: strings.NewReader("a"), Size: 1}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// TestTooSoon: who sends more than the rate that one may have waits, also with bundles.
func TestTooSoon(t *testing.T) {
	t.Parallel()
	fixture := registrytest.OpenService(t, "")
	site := httptest.NewServer(server.NewHandler(fixture.Registry, server.Options{Logger: quiet(), RequestsPerSecond: 1, Authenticator: everybody{}}))
	t.Cleanup(site.Close)
	c, err := client.New(site.URL, client.Options{Token: func() (storage.Secret, error) { return storage.NewSecret("any"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	upload, err := c.OpenUpload(t.Context(), registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "none"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		name := strings.Repeat("f", i+1)
		if i%2 == 0 {
			_, err = c.PutFile(t.Context(), upload.ID, name, registry.Content{Reader: strings.NewReader("x"), Size: 1})
		} else {
			left := 2
			_, err = c.PutFiles(t.Context(), upload.ID, func() (registry.NamedContent, error) {
				if left--; left < 0 {
					return registry.NamedContent{}, io.EOF
				}
				return registry.NamedContent{Path: name + strings.Repeat("g", left), Content: registry.Content{Reader: strings.NewReader("y"), Size: 1}}, nil
			})
		}
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}

// everybody is one holder.
type everybody struct{}

func (everybody) Authenticate(context.Context, storage.Secret) (access.Identity, error) {
	return access.Identity{Name: "everybody"}, nil
}
