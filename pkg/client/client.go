// Package client is the Go client of an artifact store: registry.Registry over
// HTTP. A program that publishes needs it and pkg/manifest. The following
// publishes a package and reads one of its files back.
//
//	store, err := client.New("https://store.example.com:9443", client.Options{
//		Token: func() (client.Secret, error) { return client.NewSecret(os.Getenv("STORE_TOKEN")), nil },
//	})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//
//	// A session has no effect until it is published.
//	ref := client.PackageRef{Producer: "ci", Name: "greeting", Version: "1.0"}
//	upload, err := store.OpenUpload(ctx, client.OpenUpload{PackageRef: ref, RetentionClass: "release"})
//	if err != nil {
//		return err
//	}
//
//	// Declared with their digests, only files are sent that the store does not have.
//	texts := map[string]string{"bin/hello": "echo hello", "README": "It says hello."}
//	sealed := manifest.Manifest{Producer: ref.Producer, Name: ref.Name, Version: ref.Version}
//	var files []client.FileDeclaration
//	for path, text := range texts {
//		digests, size, err := client.Copy(io.Discard, strings.NewReader(text))
//		if err != nil {
//			return err
//		}
//		files = append(files, client.FileDeclaration{Path: path, Size: &size, Digests: digests})
//		sealed.Files = append(sealed.Files, manifest.File{Path: path, Size: size, Digests: digests})
//	}
//	declared, err := store.DeclareFiles(ctx, upload.ID, files)
//	if err != nil {
//		return err
//	}
//	for _, path := range declared.Send {
//		text := texts[path]
//		if _, err := store.PutFile(ctx, upload.ID, path, client.Content{Reader: strings.NewReader(text), Size: int64(len(text))}); err != nil {
//			return err
//		}
//	}
//
//	// The store refuses a manifest that is not what it has computed itself. Symbolic
//	// links, empty folders and modes are only in the manifest.
//	encoded, err := manifest.Encode(&sealed)
//	if err != nil {
//		return err
//	}
//	published, err := store.Publish(ctx, upload.ID, encoded)
//	var conflict *client.ConflictError
//	switch {
//	case errors.As(err, &conflict):
//		return fmt.Errorf("%s has other content already, the manifest %s", ref, conflict.Existing)
//	case err != nil:
//		return err
//	}
//	fmt.Println("published", published.PackageRef, "with", published.Files, "files")
//
//	// The reader checks what it reads.
//	file, err := store.FindFile(ctx, ref, "bin/hello")
//	if err != nil {
//		return err
//	}
//	content, info, err := store.OpenBlob(client.WithProducer(ctx, ref.Producer), file.Digests.SHA256, nil)
//	if err != nil {
//		return err
//	}
//	defer content.Close()
//	digests, _, err := client.Copy(os.Stdout, content)
//	if err == nil && !info.Digests.Matches(digests) {
//		err = errors.New("these are not the bytes of bin/hello")
//	}
//	return err
//
// Errors are those of the contract: errors.Is finds the sentinels of names.go,
// errors.As the types that carry data. Any other refusal is a *RemoteError.
// IsTemporary says whether it is worth trying again later. Calls that may be
// repeated are repeated when the connection fails; Options.Patience says for how
// long, and also has them wait for a server that is overloaded or restarted.
// SendFile and ReadBlob move large files, and go on from where a connection broke.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/client/moving"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// connectionsPerServer is how many connections a push or pull keeps open between files.
	connectionsPerServer = 32
	// idleTimeout is half of the server's: the client closes an idle connection
	// before the server closes it under a request.
	idleTimeout = time.Minute
	// attemptsAtOnce at a call that may be repeated, of a client without patience.
	attemptsAtOnce = 3
	// maxAnswer bounds a JSON answer, in bytes: 100,000 paths of 1 KiB.
	maxAnswer = 128 << 20
	// maxProblem bounds a problem, in bytes.
	maxProblem = 1 << 20
	// expectFrom is the size, in bytes, from which a body is sent only when the
	// server asks for it (Expect: 100-continue).
	expectFrom = 1 << 20
)

// A call that came too soon is repeated after soon, for about soonPatience.
const (
	soon         = time.Second
	soonPatience = time.Minute
)

// tooSoon reports whether the holder of the token may send the request a moment later.
func tooSoon(response *http.Response) bool {
	return response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == wire.Soon
}

// retries of a call, and of a stream that broke.
var retries = backoff.Policy{First: 100 * time.Millisecond, Most: 5 * time.Second, Jitter: 0.2}

// Options of New; the zero value works.
type Options struct {
	// UserAgent is sent along; "" is "artifact-store".
	UserAgent string
	// Token is called before each request and returns the bearer token to send,
	// "" for none; nil sends none. A token is sent unencrypted to this machine only.
	Token func() (storage.Secret, error)
	// InsecureToken sends it unencrypted to other machines as well, where the network is trusted.
	InsecureToken bool
	// Transport makes the connections; nil is one of its own.
	Transport http.RoundTripper
	// RootCAs are the authorities to verify the server's certificate with, if Transport is nil; nil means the system's.
	RootCAs *x509.CertPool
	// Patience is for how long a call that may be repeated is, if no server answers or it
	// cannot now. Without it a failed connection is tried three times, and no answer is
	// waited for. The command line waits for one minute.
	Patience Patience
	// AnswerTimeout is how long a server may take to begin an answer once it has the
	// request; ten times as long if the request is not a GET or HEAD, because it may have
	// to store much. 0 is one minute, less is no limit.
	AnswerTimeout time.Duration
	// StallTimeout is how long a server may neither take nor send a byte in the middle of
	// a body. 0 is one minute, less is no limit.
	StallTimeout time.Duration
	// Dial makes the connections, as through a tunnel, if Transport is nil; nil is net.Dialer's.
	// What is dialed is in no danger on the way: a token may go over http.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is a registry over HTTP. All methods may be called concurrently.
// Errors are those of the registry: a problem becomes the typed error that it
// was made from, or a *RemoteError. If a connection fails, a call that may be
// repeated is sent up to three times, or for as long as Options.Patience says. A call
// that was answered is repeated only with patience, or if the answer is that it came
// too soon, and says when it may come again.
type Client struct {
	base          *url.URL // without a slash at the end
	http          *http.Client
	userAgent     string
	token         func() (storage.Secret, error)
	patience      Patience
	answerTimeout time.Duration // 0: none
	stallTimeout  time.Duration // 0: none
}

var _ registry.Registry = (*Client)(nil)

// ErrTokenInClear: New was given a token for a server that it would reach
// unencrypted over a network.
var ErrTokenInClear = errors.New("server: must be https://…: over http the token would be sent unencrypted")

// New returns a Client of the server at baseURL (http or https, a host, and the
// path that the server is mounted at, if any). It does not connect.
func New(baseURL string, opts Options) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, registry.Invalid("server", "must be http://host[:port] or https://host[:port], without user, query and fragment")
	}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), ""
	if opts.Token != nil && base.Scheme == "http" && !opts.InsecureToken && opts.Dial == nil && !isLoopback(base.Hostname()) {
		return nil, ErrTokenInClear
	}
	c := &Client{
		base: base, userAgent: opts.UserAgent, token: opts.Token, patience: opts.Patience,
		answerTimeout: max(0, cmp.Or(opts.AnswerTimeout, defaultAnswerTimeout)),
		stallTimeout:  max(0, cmp.Or(opts.StallTimeout, defaultStallTimeout)),
	}
	if c.userAgent == "" {
		c.userAgent = "artifact-store"
	}
	transport := opts.Transport
	if transport == nil {
		transport = newTransport(opts, c.stallTimeout)
	}
	c.http = &http.Client{
		Transport: transport,
		// The server never redirects, and a token must not follow a redirect elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func newTransport(opts Options, stall time.Duration) *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: opts.RootCAs, MinVersion: tls.VersionTLS12}
	transport.DialContext = moving.Dial(stall, stoppedReading, opts.Dial)
	if opts.Dial != nil {
		transport.Proxy = nil
	}
	transport.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
		if response.StatusCode != http.StatusOK {
			return &ProxyError{Proxy: proxy.Redacted(), Status: response.StatusCode}
		}
		return nil
	}
	transport.MaxIdleConns = 4 * connectionsPerServer
	transport.MaxIdleConnsPerHost = connectionsPerServer
	transport.IdleConnTimeout = idleTimeout
	transport.DisableCompression = true // digests are of the bytes on the wire
	transport.WriteBufferSize = 64 << 10
	transport.ReadBufferSize = 64 << 10
	transport.ExpectContinueTimeout = 2 * time.Second
	return transport
}

// call is one request.
type call struct {
	method string
	path   string // escaped, below the base
	query  url.Values
	header http.Header
	// body makes a new body for each attempt; nil means none. length is in bytes, -1 if not known.
	body   func() (io.Reader, error)
	length int64
	// repeat: the call may be sent again after a failed connection.
	repeat bool
	// unread reports whether the body of a call that may not be repeated was not asked for.
	unread func() bool
	// endless: the answer is a stream that may pause.
	endless bool
}

// do sends the call until a server answers, and returns the answer if it is a
// success. The caller closes its body.
func (c *Client) do(ctx context.Context, call call) (*http.Response, error) {
	began, attempts := time.Now(), c.patience.Begin()
	for sent := 1; ; sent++ {
		response, err := c.send(ctx, call)
		var asked time.Duration
		switch {
		case err == nil && response.StatusCode >= 200 && response.StatusCode <= 299:
			return response, nil
		case err == nil:
			early := tooSoon(response) && time.Since(began) < soonPatience
			asked = retryAfter(response.Header)
			err = remoteError(response)
			if early && call.mayRepeat() && c.waitSoon(ctx, err) {
				sent--
				continue
			}
		default:
			err = fmt.Errorf("calling the registry: %w", err)
			if c.patience.For <= 0 && call.repeat && sent < attemptsAtOnce && ctx.Err() == nil && connectionFailed(err) {
				if !retries.Wait(ctx, sent) {
					return nil, ctx.Err()
				}
				continue
			}
		}
		if !call.mayRepeat() || !attempts.againAfter(ctx, err, asked) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
	}
}

// waitSoon waits for a request that only came too soon.
func (c *Client) waitSoon(ctx context.Context, cause error) bool {
	if c.patience.Waiting != nil {
		c.patience.Waiting(Wait{Cause: cause, Delay: soon, Left: soonPatience})
	}
	return backoff.Sleep(ctx, soon)
}

// mayRepeat reports whether the call may be sent once more, whatever became of it.
func (c call) mayRepeat() bool { return c.repeat || c.unread != nil && c.unread() }

func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	var body io.Reader
	if call.body != nil {
		var err error
		if body, err = call.body(); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, call.method, c.address(call).String(), body)
	if err != nil {
		return nil, err
	}
	request.URL = c.address(call) // parsing its text again would lose the exact escapes
	for name, values := range call.header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", c.userAgent)
	if call.repeat {
		// net/http then repeats the request itself if the server has just closed
		// the idle connection; an empty header is not sent.
		request.Header["Idempotency-Key"] = []string{}
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		if !token.IsZero() {
			request.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
	}
	if call.body != nil {
		request.ContentLength = call.length
		if call.length == 0 {
			request.Body = http.NoBody // sends Content-Length: 0; an empty reader would be sent chunked
		}
		if call.length < 0 || call.length >= expectFrom {
			request.Header.Set("Expect", "100-continue")
		}
		if call.repeat && call.length != 0 {
			// HTTP/2: a proxy that shuts down refuses requests that it has not begun,
			// and net/http repeats them elsewhere if it can get the body again.
			request.GetBody = func() (io.ReadCloser, error) {
				again, err := call.body()
				return asCloser(again), err
			}
		}
	}
	return c.timed(request, call.endless)
}

func asCloser(reader io.Reader) io.ReadCloser {
	if closer, is := reader.(io.ReadCloser); is {
		return closer
	}
	return io.NopCloser(reader)
}

func (c *Client) address(call call) *url.URL {
	address := *c.base
	decoded, err := url.PathUnescape(call.path)
	if err != nil {
		decoded = call.path // never happens: every path is escaped here
	}
	address.RawPath = address.EscapedPath() + call.path
	address.Path += decoded
	address.RawQuery = call.query.Encode()
	return &address
}

// ask is do with JSON both ways; send and into may be nil.
func (c *Client) ask(ctx context.Context, call call, send, into any) error {
	if send != nil {
		data, err := json.Marshal(send)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		call.setBytes("application/json", data)
	}
	if call.header == nil {
		call.header = http.Header{}
	}
	call.header.Set("Accept", "application/json")
	return c.whole(ctx, call, func(body io.Reader) error { return readJSON(body, into) })
}

// whole is do of an answer that is read at once. If that breaks off, the call is sent
// again, if it may be.
func (c *Client) whole(ctx context.Context, call call, read func(io.Reader) error) error {
	for attempts := c.patience.Begin(); ; {
		response, err := c.do(ctx, call)
		if err != nil {
			return err
		}
		if isPage(response) { // of what stands before a registry, whatever its status says
			err = foreign(response)
		} else {
			err = read(response.Body)
		}
		response.Body.Close()
		if err == nil || !call.repeat || !attempts.Again(ctx, err) {
			return err
		}
	}
}

func readJSON(body io.Reader, into any) error {
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("reading the registry's response: %w", err)
	}
	io.Copy(io.Discard, io.LimitReader(body, 1<<10)) //nolint:errcheck // to its end, so that the connection can be reused
	return nil
}

func (c *call) setBytes(contentType string, data []byte) {
	if c.header == nil {
		c.header = http.Header{}
	}
	c.header.Set("Content-Type", contentType)
	c.body = func() (io.Reader, error) { return bytes.NewReader(data), nil }
	c.length = int64(len(data))
}

// connectionFailed lists the failures where no server has answered: there was
// no connection, or it was closed before the first byte of an answer.
func connectionFailed(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return !isNoSuchHost(err)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, context.DeadlineExceeded) {
		return true // the connection, a handshake, or a server that says nothing
	}
	// HTTP/2 returns ErrUnexpectedEOF for a closed connection. net.ErrClosed:
	// net/http noticed that the server closed it, and closed it under the request.
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE)
}

// isLoopback reports whether a host, without a port, is this machine's loopback without being resolved.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}
