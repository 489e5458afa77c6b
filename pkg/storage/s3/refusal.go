package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/net/http/httpproxy"

	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// maxRefusal is how much of the body of an error answer is kept, in bytes.
	maxRefusal = 64 << 10
	// maxSaid is how much of it is told.
	maxSaid = 512
)

// proxy is what the environment says about proxies (HTTPS_PROXY, NO_PROXY and so on).
type proxy struct {
	find func(*url.URL) (*url.URL, error)
}

func proxyFromEnvironment() proxy { return proxy{httpproxy.FromEnvironment().ProxyFunc()} }

func (p proxy) of(request *http.Request) (*url.URL, error) { return p.find(request.URL) }

// refusal is the body of an error answer. It can be read as before.
type refusal struct {
	io.Reader
	io.Closer
	text []byte // its start
	via  string // host of the proxy that the request went through; "" for none
	by   string // what the answer says about its server; "" for nothing
	to   string // where the answer leads; "" for nowhere
}

// serverPattern keeps everything but the name and version of a program out of messages.
var serverPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._/()-]{0,40}$`)

// keepRefusals makes each error answer keep its text: the SDK drops it.
func (p proxy) keepRefusals(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepRefusal", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		answer, is := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !is || answer.Response == nil || answer.StatusCode/100 == 2 {
			return out, metadata, err
		}
		answer.Body = p.kept(answer.Response)
		return out, metadata, nil
	}), middleware.After)
}

func (p proxy) kept(answer *http.Response) *refusal {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	rest := io.Reader(answer.Body)
	if err != nil {
		rest = failing{err}
	}
	kept := &refusal{Reader: io.MultiReader(bytes.NewReader(text), rest), Closer: answer.Body, text: text}
	if by := answer.Header.Get("Server"); serverPattern.MatchString(by) {
		kept.by = by
	}
	if to, err := answer.Location(); err == nil && answer.Header.Get("X-Amz-Bucket-Region") == "" {
		kept.to = fmt.Sprintf("%.10s://%.300s", to.Scheme, to.Host)
	}
	if request := answer.Request; request != nil && request.URL.Scheme == "http" { // over https a proxy cannot answer
		if via, err := p.of(request); err == nil && via != nil {
			kept.via = via.Host
		}
	}
	return kept
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// refusalOf returns the body of the answer that is the error, nil for none.
func refusalOf(answer *smithyhttp.ResponseError) *refusal {
	if answer == nil || answer.Response == nil || answer.Response.Response == nil {
		return nil
	}
	kept, _ := answer.Response.Body.(*refusal)
	return kept
}

// isDocument reports whether the text is an error of S3.
func (r *refusal) isDocument() bool {
	var document struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	decoder := xml.NewDecoder(bytes.NewReader(r.text))
	decoder.CharsetReader = func(_ string, text io.Reader) (io.Reader, error) { return text, nil }
	return decoder.Decode(&document) == nil && document.Code != ""
}

// foreign reports whether something before the S3 server gave the answer: its body is
// no error of S3. The answer to a HEAD has no body.
func foreign(answer *smithyhttp.ResponseError, api smithy.APIError) (*refusal, bool) {
	kept := refusalOf(answer)
	head := answer.Response.Request != nil && answer.Response.Request.Method == http.MethodHead
	if kept == nil || head || hasCode(answer.HTTPStatusCode(), api) || kept.isDocument() {
		return nil, false
	}
	return kept, true
}

// foreignStatuses are those that mean another thing if they are not the S3 server's.
var foreignStatuses = map[int]bool{
	http.StatusUnauthorized:      true,
	http.StatusForbidden:         true,
	http.StatusMethodNotAllowed:  true,
	http.StatusProxyAuthRequired: true,

	http.StatusMovedPermanently:  true,
	http.StatusFound:             true,
	http.StatusSeeOther:          true,
	http.StatusTemporaryRedirect: true,
	http.StatusPermanentRedirect: true,

	http.StatusBadRequest:            true,
	http.StatusRequestEntityTooLarge: true,
}

// findForeign is the meaning of a refusal that is not the S3 server's.
func (r *refusal) findForeign(status int) finding {
	words := fmt.Sprintf("the answer %d has no S3 error: it comes from a proxy or gateway before the server", status)
	if r.by != "" {
		words += " (" + r.by + ")"
	}
	switch {
	case r.via != "":
		return finding{storage.ErrUnreachable, storage.ReasonProxyRefused, r.words(status)}
	case r.to != "":
		return finding{storage.ErrUnreachable, storage.ReasonNotS3, words + ", and leads to " + r.to}
	case status == http.StatusRequestEntityTooLarge:
		return finding{storage.ErrUnreachable, storage.ReasonNotS3, words + ", which takes no body of this size"}
	case status < http.StatusUnauthorized && len(bytes.TrimSpace(r.text)) == 0:
		return findByStatus(status, nil)
	case len(bytes.TrimSpace(r.text)) == 0:
		return finding{storage.ErrDenied, storage.ReasonAccessDenied, words}
	}
	return finding{storage.ErrUnreachable, storage.ReasonNotS3, words}
}

// words of a proxy's answer.
func (r *refusal) words(status int) string {
	return fmt.Sprintf("the proxy %s answered %d", r.via, status)
}

// connectError is a proxy's answer to CONNECT.
type connectError struct {
	via    string
	status int
}

func (e *connectError) Error() string {
	return fmt.Sprintf("the proxy %s does not connect to the server: %d", e.via, e.status)
}

// proxyConnected is called with a proxy's answer to CONNECT.
func proxyConnected(_ context.Context, via *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &connectError{via.Host, answer.StatusCode}
}

// findProxy is the meaning of a connection that failed at a proxy.
func findProxy(err error) (f finding, ok bool) {
	if refused, is := errors.AsType[*connectError](err); is {
		reason := storage.ReasonProxyRefused
		if refused.status >= 500 {
			reason = storage.ReasonConnectionLost // it may reach the server the next time
		}
		return finding{storage.ErrUnreachable, reason, refused.Error()}, true
	}
	if failed, is := errors.AsType[*net.OpError](err); is && failed.Op == "proxyconnect" && failed.Err != nil {
		f = findConnection(failed.Err)
		where := "the proxy"
		if dialed, is := errors.AsType[*net.OpError](failed.Err); is && dialed.Addr != nil {
			where += " " + dialed.Addr.String()
		}
		return finding{storage.ErrUnreachable, f.reason, where + ": " + f.words}, true
	}
	return finding{}, false
}

// said returns what the server, or a proxy, wrote into an error answer: one line
// without the credentials; "" for nothing.
func (b *Backend) said(err error) string {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) {
		return ""
	}
	kept := refusalOf(answer)
	if kept == nil {
		return ""
	}
	text := strings.ToValidUTF8(string(kept.text), "?")
	for _, secret := range []storage.Secret{b.config.SecretKey, b.config.SessionToken} {
		if !secret.IsZero() {
			text = strings.ReplaceAll(text, secret.Reveal(), "…")
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return text
}
