package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// impatience is long enough for a loaded machine, and ends a test that hangs.
const impatience = time.Minute

// waits collects what a client's patience tells.
type waits struct {
	mu  sync.Mutex
	all []client.Wait
}

func (w *waits) note(wait client.Wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, wait)
}

func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func patientClient(t *testing.T, url string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestPatience: what passes is waited for, with a line for each wait; what does not is told at once.
func TestPatience(t *testing.T) {
	t.Parallel()
	const fine = `{"status":"ok"}`
	problem := func(code string) string {
		return `{"type":"https://artifactstore.dev/problems/` + code + `","title":"t","detail":"d"}`
	}
	for name, test := range map[string]struct {
		status     int
		problem    string // "" is a proxy's page
		retryAfter string
		waits      bool
	}{
		"408":                          {408, "", "", true},
		"429":                          {429, problem("limit"), "", true},
		"502":                          {502, "", "", true},
		"503 of a proxy":               {503, "", "1", true},
		"503 of a server that ends":    {503, problem("stopping"), "1", true},
		"503 without a ready backend":  {503, problem("no-ready-backend"), "", true},
		"504":                          {504, "", "", true},
		"503 until a date":             {503, "", "date", true},
		"503 for longer than it waits": {503, "", "3600", false},
		"503 that people must mend":    {503, problem("no-rule"), "1", false},
		"503 of denied credentials":    {503, problem("backend-denied"), "", false},
		"500":                          {500, "", "", false},
		"404":                          {404, "", "", false},
		"413":                          {413, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) > 2 {
					io.WriteString(w, fine)
					return
				}
				if test.retryAfter == "date" {
					w.Header().Set("Retry-After", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))
				} else if test.retryAfter != "" {
					w.Header().Set("Retry-After", test.retryAfter)
				}
				if test.problem != "" {
					w.Header().Set("Content-Type", "application/problem+json")
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.problem)
			}))
			defer server.Close()
			var told waits
			c := patientClient(t, server.URL, client.Options{Patience: client.Patience{For: impatience, Waiting: told.note}})
			health, err := c.Health(t.Context())
			if test.waits {
				if err != nil || health.Status != "ok" || told.count() != 2 {
					t.Fatalf("%+v, %v after %d waits", health, err, told.count())
				}
				for _, wait := range told.all {
					if wait.Cause == nil || wait.Delay <= 0 || wait.Left <= 0 || wait.Left > impatience {
						t.Errorf("%+v", wait)
					}
					if seconds, err := strconv.Atoi(test.retryAfter); err == nil && wait.Delay < time.Duration(seconds)*time.Second {
						t.Errorf("it waits %s, and was asked to wait %d s", wait.Delay, seconds)
					}
				}
				return
			}
			if err == nil || told.count() != 0 || asked.Load() != 1 {
				t.Errorf("%v after %d requests", err, asked.Load())
			}
		})
	}
}

// TestPatienceEnds: it tries again for as long as it was told, and then says what was wrong.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer server.Close()
	c := patientClient(t, server.URL, client.Options{Patience: client.Patience{For: time.Second}})
	_, err := c.Health(t.Context())
	var remote *client.RemoteError
	if !errors.As(err, &remote) || remote.Status != http.StatusBadGateway || asked.Load() < 2 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
	// What must not be repeated is not, whatever the answer.
	asked.Store(0)
	if _, err := c.ProbeBackend(t.Context(), "only"); err == nil || asked.Load() != 1 {
		t.Errorf("a probe: %v after %d requests", err, asked.Load())
	}
	// The caller's end is the end.
	ctx, cancel := context.WithCancel(t.Context())
	c = patientClient(t, server.URL, client.Options{Patience: client.Patience{For: impatience, Waiting: func(client.Wait) { cancel() }}})
	if _, err := c.Health(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestPatienceWithNobody: a server that is started a moment later is found.
func TestPatienceWithNobody(t *testing.T) {
	t.Parallel()
	for attempt := 1; !startedLater(t); attempt++ {
		if attempt == 10 {
			t.Fatal("the port was taken by others each time")
		}
	}
	// A name that does not exist is a mistake.
	var told waits
	c := patientClient(t, "http://no-such-host.invalid", client.Options{Patience: client.Patience{For: impatience, Waiting: told.note}})
	if _, err := c.Health(t.Context()); err == nil {
		t.Error("a host that does not exist answers")
	} else if dns := new(net.DNSError); errors.As(err, &dns) && dns.IsNotFound && told.count() != 0 {
		t.Errorf("it was waited for: %v", err)
	}
}

// startedLater asks a server that starts once the client waits for it. It reports false if
// somebody else took the port before.
func startedLater(t *testing.T) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	first := make(chan struct{})
	var once sync.Once
	c := patientClient(t, "http://"+address, client.Options{Patience: client.Patience{For: impatience, Waiting: func(client.Wait) { once.Do(func() { close(first) }) }}})
	started := make(chan *http.Server, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-first:
		case <-ctx.Done(): // somebody else answered
			started <- nil
			return
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			cancel()
			started <- nil
			return
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"status":"ok"}`) })}
		started <- server
		server.Serve(listener)
	}()
	health, err := c.Health(ctx)
	select {
	case <-first:
	default:
		return false
	}
	server := <-started
	if server == nil {
		return false
	}
	defer server.Close()
	if err != nil || health.Status != "ok" {
		t.Errorf("%+v, %v", health, err)
	}
	return true
}

// TestSilentServers: a server that accepts and says nothing, one that stops sending,
// and one that stops reading are all noticed.
func TestSilentServers(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/blobs/") {
			w.Header().Set("Repr-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, blake3=:rxNJufXhgkGIreqo5JkmysZ/EkOmt8m1ybdxTbCgHLc=:")
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "some")
			http.NewResponseController(w).Flush()
		}
		<-ended
	}))
	server.Start()
	defer server.Close()
	defer close(ended)
	c := patientClient(t, server.URL, client.Options{AnswerTimeout: 200 * time.Millisecond, StallTimeout: 200 * time.Millisecond})

	_, err := c.GetBackend(t.Context(), "b")
	if err == nil || !strings.Contains(err.Error(), "the server accepted the request and has said nothing for 200ms") || !client.IsTemporary(err) {
		t.Errorf("no answer: %v", err)
	}

	body, _, err := c.OpenBlob(t.Context(), digest.Of(nil).SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err = io.ReadAll(body); err == nil || !strings.Contains(err.Error(), "the server has stopped sending for 200ms") || !client.IsTemporary(err) {
		t.Errorf("an answer that stops: %v", err)
	}

	zeros := io.LimitReader(zeroReader{}, 1<<30)
	_, err = c.PutFile(t.Context(), "u", "f", registry.Content{Reader: zeros, Size: 1 << 30})
	if err == nil || !strings.Contains(err.Error(), "the server has stopped reading the request for 200ms") || !client.IsTemporary(err) {
		t.Errorf("a request that nobody reads: %v", err)
	}

	// Without limits it waits for as long as its caller.
	patient := patientClient(t, server.URL, client.Options{AnswerTimeout: -1, StallTimeout: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := patient.GetBackend(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a limit: %v", err)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
