package serving_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// plain is the smallest face: it answers in plain text, and its errors are
// their first words.
type plain struct{}

var errOwn = errors.New("an error of the face")

func (plain) Serve(w *serving.Writer, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.Fail(r, err)
			return
		}
		w.Write(body)
	case "/bytes":
		if err := serving.Send(w, r, hello); err != nil {
			w.Fail(r, err)
		}
	case "/fails":
		w.Fail(r, errOwn)
	case "/fails-late":
		io.WriteString(w, "half of the ans")
		w.Fail(r, errOwn)
	case "/panics":
		panic("a secret")
	}
}

func (plain) Refuse(w *serving.Writer, _ *http.Request, err error) {
	status, text := http.StatusInternalServerError, "unknown"
	for known, answer := range map[error]struct {
		status int
		text   string
	}{
		serving.ErrHost: {421, "host"}, serving.ErrOtherSite: {403, "site"}, serving.ErrStalled: {408, "stalled"}, storage.ErrSource: {400, "interrupted"},
		storage.ErrRange: {416, "range"}, access.ErrUnauthenticated: {401, "token"}, errOwn: {418, "own"},
	} {
		if errors.Is(err, known) {
			status, text = answer.status, answer.text
		}
	}
	w.WriteHeader(status)
	io.WriteString(w, text)
}

var hello = serving.Representation{
	Head: func(context.Context) (serving.Info, error) { return helloInfo, nil },
	Open: func(_ context.Context, rng *storage.Range) (io.ReadCloser, serving.Info, error) {
		text := "hello"
		if rng != nil {
			text = text[rng.Offset : rng.Offset+rng.Length]
		}
		return io.NopCloser(strings.NewReader(text)), helloInfo, nil
	},
	Describe: func(header http.Header, info serving.Info) { header.Set("Etag", serving.ETag(info.Digests.SHA256)) },
}

var helloInfo = serving.Info{Digests: digest.Of([]byte("hello")), Size: 5}

// one knows one token.
type one struct{}

func (one) Authenticate(_ context.Context, token storage.Secret) (access.Identity, error) {
	if token.Reveal() != "right" {
		return access.Identity{}, access.Unauthenticated("wrong")
	}
	return access.Identity{Name: "somebody"}, nil
}

// TestFace: what every face gets, whatever it serves. Two faces share metrics.
func TestFace(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	opts := serving.Options{Logger: slog.New(slog.DiscardHandler), Metrics: serving.NewMetrics(registry), StallTimeout: 300 * time.Millisecond}
	free := start(t, opts)
	opts.Gate = serving.Gate{Authenticator: one{}, Open: map[string]bool{"/fails": true}}
	opts.LoopbackOnly = true
	gated := start(t, opts)
	for _, c := range []struct {
		address, request, body string
		status                 int
		text                   string // "" for an answer that breaks off
	}{
		{free, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n", "abc", 200, "abc"},
		{free, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n", "abc", 408, "stalled"},
		{free, "GET /bytes HTTP/1.1\r\nHost: x\r\n", "", 200, "hello"},
		{free, "GET /bytes HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n", "", 206, "el"},
		{free, "GET /bytes HTTP/1.1\r\nHost: x\r\nRange: bytes=5-\r\n", "", 416, "range"},
		{free, "GET /bytes HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n", "", 304, ""},
		{free, "POST /echo HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 3\r\n", "abc", 403, "site"},
		{free, "GET /fails HTTP/1.1\r\nHost: x\r\n", "", 418, "own"},
		{free, "GET /panics HTTP/1.1\r\nHost: x\r\n", "", 500, "unknown"},
		{free, "GET /fails-late HTTP/1.1\r\nHost: x\r\n", "", 0, ""},
		{gated, "GET /fails HTTP/1.1\r\nHost: x\r\n", "", 421, "host"},
		{gated, "GET /bytes HTTP/1.1\r\nHost: localhost\r\n", "", 401, "token"},
		{gated, "GET /bytes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer right\r\n", "", 200, "hello"},
		{gated, "GET /fails HTTP/1.1\r\nHost: localhost\r\n", "", 418, "own"},
	} {
		status, text := raw(t, c.address, c.request+"Connection: close\r\n\r\n"+c.body)
		if status != c.status || text != c.text {
			t.Errorf("%q: got %d %q, want %d %q", c.request, status, text, c.status, c.text)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	requests := 0.0
	for _, family := range families {
		if family.GetName() == "artifactstore_http_requests_total" {
			for _, metric := range family.GetMetric() {
				requests += metric.GetCounter().GetValue()
			}
		}
	}
	if requests != 14 {
		t.Errorf("%v requests were counted, want 14", requests)
	}
}

// start serves plain and returns its address.
func start(t *testing.T, opts serving.Options) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := serving.NewServer(serving.NewHandler(plain{}, opts))
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	return listener.Addr().String()
}

// raw sends bytes and reads the answer; the status is 0 if it breaks off.
func raw(t *testing.T, address, request string) (status int, text string) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	sent, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), sent)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := io.Copy(&body, response.Body); err != nil {
		return 0, ""
	}
	return response.StatusCode, body.String()
}
