package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestAcceptEncodingIsNotSigned: a proxy that rewrites the header breaks nothing.
func TestAcceptEncodingIsNotSigned(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3On(t, kind, false)
			var other atomic.Int64
			b := open(t, server, between{on: func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Accept-Encoding") != "identity" {
					other.Add(1)
				}
				r.Header.Set("Accept-Encoding", "gzip, br")
				return false
			}}.config(t, server), buffer.New(24<<20, 8<<20))
			t.Cleanup(func() { b.Close() })
			for i, size := range []int64{1000, threshold + 1} {
				data := storagetest.Bytes(uint64(i), size)
				if _, err := b.Put(t.Context(), source(data)); err != nil {
					t.Fatal(err)
				}
				if got := read(t, b, storageDigest(data)); !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes came back", len(got), size)
				}
			}
			if other.Load() > 0 {
				t.Errorf("%d requests invite a compressed answer", other.Load())
			}
		})
	}
}

// TestHostChangedOnTheWay: a wrong signature has two causes, and both are named.
func TestHostChangedOnTheWay(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
		r.Host, _, _ = net.SplitHostPort(r.Host)
		return false
	}}.config(t, server)
	err := newBackend(t, config).Health(t.Context())
	check(t, "Health", err, storage.ErrDenied, storage.ReasonSecretKeyWrong, config)
	for _, cause := range []string{"the secret key does not belong to the access key", "a proxy changed the request", "Host"} {
		if !strings.Contains(fmt.Sprint(err), cause) {
			t.Errorf("%v does not name %q", err, cause)
		}
	}
}

// forward is a forward proxy to one server, whatever host it is asked for. It refuses
// everything with refuses, if that is set.
type forward struct {
	target  *url.URL
	refuses atomic.Int64
	passed  atomic.Int64
}

const pageOfProxy = "<html><body><h1>Blocked</h1> by the proxy's rules</body></html>"

func (f *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := int(f.refuses.Load()); status != 0 {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, pageOfProxy)
		return
	}
	f.passed.Add(1)
	(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host = f.target.Scheme, f.target.Host
		p.Out.Host = p.In.Host
	}, ErrorLog: quiet()}).ServeHTTP(w, r)
}

// TestForwardProxy: what a proxy of the environment says is told as the proxy's word.
// Not parallel: it sets the environment, and the log.
func TestForwardProxy(t *testing.T) {
	server := servers.S3(t)
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	way := &forward{target: target}
	proxy := httptest.NewServer(way)
	t.Cleanup(proxy.Close)
	host := strings.TrimPrefix(proxy.URL, "http://")
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })

	config := configFor(server)
	config.EndpointURL = "http://s3.example.test:9000"
	b := newBackend(t, config)
	data := []byte("data")
	if _, err := b.Put(t.Context(), source(data)); err != nil || way.passed.Load() == 0 {
		t.Fatalf("%d requests went through the proxy: %v", way.passed.Load(), err)
	}
	secure := config
	secure.EndpointURL = "https://s3.example.test:9000"
	for _, status := range []int{http.StatusForbidden, http.StatusProxyAuthRequired} {
		way.refuses.Store(int64(status))
		_, _, get := b.Get(t.Context(), storageDigest(data), nil)
		_, put := b.Put(t.Context(), source([]byte("more")))
		for verb, err := range map[string]error{
			"Health": b.Health(t.Context()), "Get": get, "Put": put,
			"CONNECT": newBackend(t, secure).Health(t.Context()),
		} {
			check(t, verb, err, storage.ErrUnreachable, storage.ReasonProxyRefused, config)
			if words := fmt.Sprint(err); !strings.Contains(words, "the proxy "+host) || !strings.Contains(words, fmt.Sprint(status)) || strings.Contains(words, "s3:") {
				t.Errorf("%s: %v", verb, err)
			}
			if said := storage.SaidBy(err); verb != "CONNECT" && said != pageOfProxy {
				t.Errorf("%s: the proxy said %q", verb, said)
			}
		}
	}
	way.refuses.Store(http.StatusBadGateway)
	err = b.Health(t.Context())
	check(t, "a proxy that finds no server", err, storage.ErrUnreachable, storage.ReasonServerFailed, config)
	if !strings.HasSuffix(fmt.Sprint(err), "the proxy "+host+" answered 502") {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "Blocked") {
		t.Errorf("the proxy's words are not logged: %s", &log)
	}
	proxy.Close()
	err = newBackend(t, secure).Health(t.Context())
	check(t, "a proxy that is gone", err, storage.ErrUnreachable, storage.ReasonConnectionRefused, config)
	if !strings.Contains(fmt.Sprint(err), "the proxy "+host) {
		t.Error(err)
	}
}

// TestWordsOfAnotherServer: without an error of S3 no permission is named, and the words
// of the answer are kept.
func TestWordsOfAnotherServer(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	config := between{on: func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<html>\n<body>no,\x1b[31m asecretkey\n")
		return true
	}}.config(t, server)
	config.SecretKey = storage.NewSecret("asecretkey")
	b := probing(t, server, config)
	err := b.Health(t.Context())
	check(t, "Health", err, storage.ErrUnreachable, storage.ReasonNotS3, config)
	if words := fmt.Sprint(err); strings.Contains(words, "s3:") || !strings.Contains(words, "a proxy or gateway") {
		t.Error(err)
	}
	if said := storage.SaidBy(err); said != "<html> <body>no, [31m …" {
		t.Errorf("it said %q", said)
	}
	put := result(t, probe.Full(t.Context(), b, false), probe.Put)
	if put.Status != storage.SupportUnknown || !strings.Contains(put.Detail, "<html> <body>no,") {
		t.Errorf("%+v", put)
	}
}
