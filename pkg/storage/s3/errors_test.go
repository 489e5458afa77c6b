package s3_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

func newBackend(t *testing.T, config s3.Config) *s3.Backend {
	t.Helper()
	b, err := s3.New(config, buffer.New(16<<20, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// check compares an error with what conditions and callers need.
func check(t *testing.T, verb string, err, kind error, reason string, config s3.Config) {
	t.Helper()
	if kind != nil && !errors.Is(err, kind) || kind == nil && err == nil || storage.ReasonOf(err) != reason {
		t.Errorf("%s: %v (%s), want %v (%s)", verb, err, storage.ReasonOf(err), kind, reason)
		return
	}
	for _, secret := range []string{config.SecretKey.Reveal(), config.AccessKey.Reveal(), "X-Amz", "Signature=", "http://", "https://"} {
		if strings.Contains(fmt.Sprintf("%v %+v %q", err, err, err), secret) {
			t.Errorf("%s: the error holds %q: %+v", verb, secret, err)
		}
	}
}

// everyVerb calls all methods that use the server, each with a context of its own.
func everyVerb(ctx func() context.Context, b *s3.Backend, data []byte) map[string]error {
	name := storageDigest(data)
	verbs := map[string]error{"Health": b.Health(ctx()), "Delete": b.Delete(ctx(), name)}
	_, verbs["Put"] = b.Put(ctx(), source(data))
	_, verbs["Put in parts"] = b.Put(ctx(), source(make([]byte, threshold+1)))
	_, _, verbs["Get"] = b.Get(ctx(), name, nil)
	_, verbs["Head"] = b.Head(ctx(), name)
	_, verbs["ReadMarker"] = b.ReadMarker(ctx())
	_, verbs["CreateMarker"] = b.CreateMarker(ctx(), []byte("marker"))
	for _, err := range b.List(ctx()) {
		verbs["List"] = err
	}
	return verbs
}

// TestErrorsOfARealServer: every kind of server reports an error in its own way; every
// verb of the driver returns it in the same words.
func TestErrorsOfARealServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*s3.Config)
		kind   error
		reason string
		only   servers.S3Kind
	}{
		{"a bucket that is not there", func(c *s3.Config) { c.Bucket = "not-there" }, storage.ErrNoPlace, storage.ReasonBucketNotFound, ""},
		{"an unknown access key", func(c *s3.Config) { c.AccessKey = storage.NewSecret("NOBODYSKEY") }, storage.ErrDenied, storage.ReasonAccessKeyUnknown, ""},
		{"a wrong secret key", func(c *s3.Config) { c.SecretKey = storage.NewSecret("a-wrong-secret") }, storage.ErrDenied, storage.ReasonSecretKeyWrong, ""},
		// The others accept any region.
		{"another region", func(c *s3.Config) { c.Region = "mars-north-1" }, storage.ErrDenied, storage.ReasonRegionWrong, servers.VersityGW},
	} {
		for _, kind := range servers.S3Kinds {
			if test.only != "" && test.only != kind {
				continue
			}
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/https=%t", test.name, kind, secure), func(t *testing.T) {
					t.Parallel()
					config := configFor(servers.S3On(t, kind, secure))
					test.change(&config)
					for verb, err := range everyVerb(t.Context, newBackend(t, config), []byte("data")) {
						check(t, verb, err, test.kind, test.reason, config)
					}
				})
			}
		}
	}
	for _, kind := range servers.S3Kinds {
		t.Run("another CA/"+string(kind), func(t *testing.T) {
			t.Parallel()
			other := httptest.NewTLSServer(http.NotFoundHandler())
			t.Cleanup(other.Close)
			config := configFor(servers.S3On(t, kind, true))
			config.CABundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
			for verb, err := range everyVerb(t.Context, newBackend(t, config), []byte("data")) {
				check(t, verb, err, storage.ErrUnreachable, storage.ReasonTLSNotTrusted, config)
			}
		})
	}
}

func TestErrorsOfTheConnection(t *testing.T) {
	t.Parallel()
	config := configFor(servers.S3Server{Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()

	answering := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>hello</html>") })
	plainServer := httptest.NewServer(answering)
	t.Cleanup(plainServer.Close)
	tlsServer := httptest.NewUnstartedServer(answering)
	tlsServer.Config.ErrorLog = quiet()
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	dropping := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(dropping.Close)
	_, tlsPort, err := net.SplitHostPort(tlsServer.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name, endpoint string
		ca             []byte
		reason         string
	}{
		{"nobody listens", "http://" + closed, nil, storage.ReasonConnectionRefused},
		{"no such name", "http://no-such-host.invalid:9000", nil, storage.ReasonNameNotResolved},
		{"an unknown authority", tlsServer.URL, nil, storage.ReasonTLSNotTrusted},
		{"another host's certificate", "https://localhost:" + tlsPort, certificate(tlsServer), storage.ReasonTLSNotTrusted},
		{"no TLS", "https://" + plainServer.Listener.Addr().String(), nil, storage.ReasonTLSFailed},
		{"not S3", plainServer.URL, nil, storage.ReasonNotS3},
		{"not S3, trusted", tlsServer.URL, certificate(tlsServer), storage.ReasonNotS3},
		{"it hangs up", dropping.URL, nil, storage.ReasonConnectionLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := config
			config.EndpointURL, config.CABundle = test.endpoint, test.ca
			check(t, "Health", newBackend(t, config).Health(t.Context()), storage.ErrUnreachable, test.reason, config)
		})
	}
}

// TestRefusalBreaksOff: a refusal whose body is lost is retried, because its status
// alone does not say what is refused.
func TestRefusalBreaksOff(t *testing.T) {
	t.Parallel()
	body := "<Error><Code>InvalidAccessKeyId</Code></Error>"
	for _, sent := range []int{0, 12} {
		t.Run(fmt.Sprint(sent, " bytes"), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				w.WriteHeader(http.StatusForbidden)
				if asked.Add(1)%2 == 1 {
					io.WriteString(w, body[:sent])
					http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
				io.WriteString(w, body)
			}))
			t.Cleanup(server.Close)
			config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
			b := newBackend(t, config)
			_, put := b.Put(t.Context(), source([]byte("data")))
			_, marker := b.CreateMarker(t.Context(), []byte("marker"))
			for verb, err := range map[string]error{"Put": put, "CreateMarker": marker} {
				check(t, verb, err, storage.ErrDenied, storage.ReasonAccessKeyUnknown, config)
			}
		})
	}
}

func certificate(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// TestUnresolvedBucket: without path style the host name includes the bucket.
func TestUnresolvedBucket(t *testing.T) {
	t.Parallel()
	config := configFor(servers.S3Server{Endpoint: "http://no-such-host.invalid:9000", Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
	config.ForcePathStyle = new(bool)
	err := newBackend(t, config).Health(t.Context())
	check(t, "Health", err, storage.ErrUnreachable, storage.ReasonNameNotResolved, config)
	if !strings.Contains(err.Error(), `"bucket.no-such-host.invalid"`) {
		t.Error(err)
	}
}

// TestRefusedToken: MinIO has a code of its own for an unknown session token.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	config := configFor(servers.S3On(t, servers.MinIO, false))
	config.SessionToken = storage.NewSecret("not-a-token")
	check(t, "Health", newBackend(t, config).Health(t.Context()), storage.ErrDenied, storage.ReasonCredentialsFailed, config)
}

// TestHangingServer: both the caller's deadline and our own timeout end a request that
// a stopped server keeps open.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	hanging, release := http.HandlerFunc(nil), make(chan struct{})
	hanging = func(_ http.ResponseWriter, r *http.Request) { <-release }
	server := httptest.NewServer(hanging)
	t.Cleanup(func() { close(release); server.Close() })
	config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
	config.RequestTimeout = time.Second
	b := newBackend(t, config)

	check(t, "our time-out", b.Health(t.Context()), storage.ErrUnreachable, storage.ReasonTimedOut, config)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for verb, err := range everyVerb(soon, b, []byte("data")) {
		check(t, verb, err, storage.ErrUnreachable, storage.ReasonTimedOut, config)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v is not the context's end", verb, err)
		}
	}
}

// TestErrorsByCode: a server that answers with a code, and with text that must not be
// printed.
func TestErrorsByCode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		code   string
		kind   error
		reason string
	}{
		{403, "InvalidAccessKeyId", storage.ErrDenied, storage.ReasonAccessKeyUnknown},
		{404, "XAdminUserNotFound", storage.ErrDenied, storage.ReasonAccessKeyUnknown},
		{403, "SignatureDoesNotMatch", storage.ErrDenied, storage.ReasonSecretKeyWrong},
		{403, "AccessDenied", storage.ErrDenied, storage.ReasonAccessDenied},
		{403, "SomethingNew", storage.ErrDenied, storage.ReasonAccessDenied},
		{403, "InvalidObjectState", storage.ErrDenied, storage.ReasonAccessDenied},
		{403, "RequestTimeTooSkewed", storage.ErrDenied, storage.ReasonClockSkewed},
		{403, "QuotaExceeded", storage.ErrFull, storage.ReasonFull},
		{507, "XMinioStorageFull", storage.ErrFull, storage.ReasonFull},
		{503, "SlowDown", storage.ErrThrottled, storage.ReasonThrottled},
		{503, "RequestLimitExceeded", storage.ErrThrottled, storage.ReasonThrottled},
		{429, "", storage.ErrThrottled, storage.ReasonThrottled},
		{503, "", storage.ErrUnreachable, storage.ReasonServerFailed},
		{503, "ServiceUnavailable", storage.ErrUnreachable, storage.ReasonServerFailed},
		{503, "SlowDownWrite", storage.ErrUnreachable, storage.ReasonServerFailed}, // MinIO's for lost drives
		{400, "AuthorizationHeaderMalformed", storage.ErrDenied, storage.ReasonRegionWrong},
		{301, "PermanentRedirect", storage.ErrDenied, storage.ReasonRegionWrong},
		{404, "NoSuchBucket", storage.ErrNoPlace, storage.ReasonBucketNotFound},
		{400, "EntityTooLarge", storage.ErrTooLarge, storage.ReasonTooLarge},
		{403, "InvalidTokenId", storage.ErrDenied, storage.ReasonCredentialsFailed},
		{400, "ExpiredToken", storage.ErrDenied, storage.ReasonCredentialsFailed},
		{500, "InternalError", storage.ErrUnreachable, storage.ReasonServerFailed},
		{400, "InvalidStorageClass", nil, storage.ReasonInvalidRequest}, // no class was requested
		{400, "BadDigest", storage.ErrUnreachable, storage.ReasonDamagedInTransit},
	} {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.WriteHeader(test.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>asecretkey X-Amz-Signature=1 %s</Message></Error>", test.code, r.URL.Path)
			}))
			t.Cleanup(server.Close)
			config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
			b := newBackend(t, config)
			check(t, "Health", b.Health(t.Context()), test.kind, test.reason, config)
			if asked.Load() != 1 {
				t.Errorf("Health asked %d times", asked.Load())
			}
		})
	}
}

// TestNotFoundOfAnother: a 404 from anything in the server's place says nothing about
// any blob, through every verb.
func TestNotFoundOfAnother(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"an ingress":  "default backend - 404",
		"nothing":     "",
		"a page":      "<html><body><h1>404 Not Found</h1></body></html>",
		"broken HTML": "<html><body><br><hr></html>",
		"JSON":        `{"code":"NoSuchKey"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, body)
			}))
			t.Cleanup(server.Close)
			config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
			for verb, err := range everyVerb(t.Context, newBackend(t, config), []byte("data")) {
				if errors.Is(err, storage.ErrNotFound) {
					t.Errorf("%s takes an outage for a missing blob: %v", verb, err)
				}
				check(t, verb, err, storage.ErrUnreachable, storage.ReasonNotS3, config)
				if !strings.HasSuffix(fmt.Sprint(err), "the answer is not from an S3 server") {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// TestUnavailableByAnother: a 503 of the proxy before a dead server counts as a failing
// server, through every verb, and is retried as such.
func TestUnavailableByAnother(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	for name, page := range map[string]string{
		"HAProxy":   "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n",
		"nginx":     "<html><body><center><h1>503 Service Temporarily Unavailable</h1></center><hr><center>nginx</center></body></html>",
		"a gateway": "no healthy upstream",
		"nothing":   "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := faultproxy.HTTP(t, server.Endpoint)
			config := configFor(server)
			config.EndpointURL, config.KeyPrefix = proxy.URL, "unavailable/"+strings.ReplaceAll(name, " ", "-")
			b := newBackend(t, config)
			data := []byte("data")
			if _, err := b.Put(t.Context(), source(data)); err != nil {
				t.Fatal(err)
			}
			down := faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Page: page, Always: true}
			proxy.Arm(down)
			check(t, "Health", b.Health(t.Context()), storage.ErrUnreachable, storage.ReasonServerFailed, config)
			proxy.Arm(down)
			_, _, err := b.Get(t.Context(), storageDigest(data), nil)
			check(t, "Get", err, storage.ErrUnreachable, storage.ReasonServerFailed, config)
			if struck := proxy.Struck(); struck != 5 {
				t.Errorf("it was asked %d times, want 5", struck)
			}
			down.RetryAfter = time.Hour // a maintenance page; the driver does not wait for it
			proxy.Arm(down)
			for verb, err := range everyVerb(t.Context, b, data) {
				check(t, verb, err, storage.ErrUnreachable, storage.ReasonServerFailed, config)
			}
			proxy.Arm()
			if _, err := b.Head(t.Context(), storageDigest(data)); err != nil {
				t.Errorf("it is back: %v", err)
			}
		})
	}
}
