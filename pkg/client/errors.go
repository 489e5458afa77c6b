package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// RemoteError is an error of the server that has no type of its own. It unwraps
// to the error of the registry that it stands for, if there is one.
type RemoteError struct {
	Status int // of the HTTP answer
	// Type is the URI of the problem's type (docs/api/http.md lists them), "" if
	// the answer did not come from a registry.
	Type          string
	Title, Detail string
	// RequestID identifies the request in the server's log, "" if there is none.
	RequestID string
	// RetryAfter is how long the server asks to wait, 0 if it does not say.
	RetryAfter time.Duration
	// The rest is of an answer that did not come from a registry: what it is, where
	// it sends a browser, and the time by the clock of whoever gave it.
	ContentType, Location string
	Date                  time.Time
	cause                 error
}

func (e *RemoteError) Error() string {
	text := fmt.Sprintf("the registry answered %d: %s", e.Status, e.Title)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Status >= http.StatusInternalServerError && e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

func (e *RemoteError) Unwrap() error { return e.cause }

// ProxyError: a proxy of the environment (HTTPS_PROXY) refused the connection.
type ProxyError struct {
	// Proxy is its address, without a password.
	Proxy  string
	Status int // of the HTTP answer
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s answered %d: %s", e.Proxy, e.Status, http.StatusText(e.Status))
}

// IsTemporary reports whether a call may succeed when it is repeated later: no
// server answered, or it is temporarily unavailable. Whether the call took
// effect is not known.
func IsTemporary(err error) bool {
	var remote *RemoteError
	if errors.As(err, &remote) {
		switch remote.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return !needsPeople(err)
		}
		return false
	}
	return errors.Is(err, registry.ErrNoReadyBackend) || connectionFailed(err)
}

// needsPeople lists what 503 also says, and no waiting mends: somebody must change a
// declaration or a credential.
func needsPeople(err error) bool {
	for _, lasting := range []error{
		registry.ErrNoRule, placement.ErrUnknownBackend, storage.ErrDenied, storage.ErrNoPlace, storage.ErrClass,
	} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}

// IsProxyLimit reports whether something between here and the registry refuses a body
// because of its size: a 413 that is no problem of the registry's.
func IsProxyLimit(err error) bool {
	remote, is := errors.AsType[*RemoteError](err)
	return is && remote.Status == http.StatusRequestEntityTooLarge && remote.Type == ""
}

// remoteError reads and closes an answer that is not a success.
func remoteError(response *http.Response) error {
	defer response.Body.Close()
	var p wire.Problem
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err == nil && strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") && len(data) > 0 {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.Type == "" {
		// The answer to a HEAD, or of a proxy: there is only the status.
		refused := foreign(response)
		refused.Title, refused.cause = http.StatusText(response.StatusCode), causeOfStatus(response)
		refused.RetryAfter = retryAfter(response.Header)
		return refused
	}
	p.Status = response.StatusCode
	err = restore(&p)
	if remote, is := errors.AsType[*RemoteError](err); is {
		remote.Date, remote.RetryAfter = dateOf(response), retryAfter(response.Header)
	}
	return err
}

// foreign describes an answer that is not a registry's.
func foreign(response *http.Response) *RemoteError {
	return &RemoteError{
		Status: response.StatusCode, Title: "the answer is not that of a registry",
		RequestID:   response.Header.Get("X-Request-Id"),
		ContentType: mediaTypeOf(response), Location: response.Header.Get("Location"), Date: dateOf(response),
	}
}

// dateOf returns the zero time if there is no date.
func dateOf(response *http.Response) time.Time {
	date, _ := http.ParseTime(response.Header.Get("Date"))
	return date
}

// isPage reports whether a body is for a browser: what stands before a registry, such
// as a page to log in, answers 200 as well.
func isPage(response *http.Response) bool {
	media := mediaTypeOf(response)
	return media == "text/html" || media == "application/xhtml+xml"
}

func mediaTypeOf(response *http.Response) string {
	media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// causeOfStatus is what a status means without a problem, as in the answer to a
// HEAD. It must come from a registry, which always sends this header: a proxy's
// 404 says nothing about a blob.
func causeOfStatus(response *http.Response) error {
	if response.Request.Method != http.MethodHead || response.Header.Get("X-Request-Id") == "" {
		return nil
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return registry.ErrUnauthenticated
	case http.StatusForbidden:
		return registry.ErrForbidden
	case http.StatusNotFound:
		return registry.ErrNotFound
	case http.StatusGone:
		return registry.ErrExpired
	case http.StatusBadRequest:
		return registry.ErrInvalid
	case http.StatusServiceUnavailable:
		return registry.ErrUnavailable
	}
	return nil
}

// restore makes the error that p was made from: the typed error itself, or a
// *RemoteError that unwraps to it, so that its text names the registry.
func restore(p *wire.Problem) error {
	kind, _ := wire.KindOf(p.Type)
	if typed := typedError(p, kind.Target); typed != nil {
		return typed
	}
	e := &RemoteError{Status: p.Status, Type: p.Type, Title: p.Title, Detail: p.Detail, RequestID: p.RequestID, cause: kind.Target}
	switch target := kind.Target; {
	case target == registry.ErrAbandoned && p.Abandoned != nil:
		e.cause = &registry.AbandonedError{Backend: p.Abandoned.Backend, BackendID: p.Abandoned.BackendID, Position: p.Abandoned.Position}
	case target == registry.ErrRemovalsHeld && p.Until != nil:
		e.cause = &registry.RemovalsHeldError{Until: *p.Until}
	case target == registrar.ErrForeignMarker || target == registrar.ErrNoMarker || target == registrar.ErrOlderLog:
		e.cause = &registrar.MarkerError{Kind: target, Message: p.Detail}
	}
	return e
}

// typedError returns nil if there is no type for p, or p lacks the data.
func typedError(p *wire.Problem, target error) error {
	var first wire.FieldError
	if len(p.Errors) > 0 {
		first = p.Errors[0]
	}
	switch {
	case p.Type == wire.OffsetKind.Type() && p.ExpectedOffset != nil && p.ProvidedOffset != nil:
		return &registry.OffsetError{Want: *p.ExpectedOffset, Got: *p.ProvidedOffset}
	case p.Type == wire.LengthKind.Type() && p.ExpectedLength != nil && p.ProvidedLength != nil:
		return &registry.LengthError{Want: *p.ExpectedLength, Got: *p.ProvidedLength}
	case target == registry.ErrInvalid, p.Type == wire.LengthKind.Type(): // an older server gives no lengths
		return &registry.InvalidError{Field: first.Location, Message: first.Message}
	case target == registry.ErrConflict:
		return &registry.ConflictError{Field: first.Location, Message: first.Message, Existing: p.Existing}
	case target == registry.ErrIncomplete && p.Incomplete != nil:
		return &registry.IncompleteError{Count: p.Incomplete.Count, Files: p.Incomplete.Files, Paths: p.Incomplete.Paths, Partial: p.Incomplete.Partial}
	case target == storage.ErrMismatch && p.Mismatch != nil:
		m := p.Mismatch
		return &storage.MismatchError{Want: m.Want, Got: m.Got, WantSize: m.WantSize, GotSize: m.GotSize}
	case target == registry.ErrNoReadyBackend && p.Explanation != nil:
		return &placement.NotReadyError{Explanation: *p.Explanation}
	case target == registry.ErrNoRule && p.Explanation != nil:
		return &placement.NoRuleError{Explanation: *p.Explanation}
	}
	return nil
}
