package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// RemoteError is a server's problem that carries no data of its own. It
// unwraps to the sentinel that it stands for, if there is one.
type RemoteError struct {
	Problem Problem
	cause   error
}

func (e *RemoteError) Error() string {
	text := fmt.Sprintf("the registry answered %d: %s", e.Problem.Status, e.Problem.Title)
	if e.Problem.Detail != "" {
		text += ": " + e.Problem.Detail
	}
	if e.Problem.Status >= http.StatusInternalServerError && e.Problem.RequestID != "" {
		text += " (request " + e.Problem.RequestID + ")"
	}
	return text
}

func (e *RemoteError) Unwrap() error { return e.cause }

// IsTemporary reports whether a call failed in a way that may soon be over: no
// server answered, or one that cannot serve now. Whether the call took effect
// is not known.
func IsTemporary(err error) bool {
	var remote *RemoteError
	if errors.As(err, &remote) {
		switch remote.Problem.Status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return connectionFailed(err)
}

// remoteError reads an answer that is no success, and closes it.
func remoteError(response *http.Response) error {
	defer response.Body.Close()
	var p Problem
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err == nil && strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") && len(data) > 0 {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.Type == "" {
		// A HEAD, or something in between that is no registry: the status is all there is.
		p = Problem{Status: response.StatusCode, Title: http.StatusText(response.StatusCode)}
		return &RemoteError{p, causeOfStatus(response)}
	}
	p.Status = response.StatusCode
	return p.restore()
}

// causeOfStatus: only what one of our statuses can mean, and only from one of
// our servers (they all send this header), so that a proxy's 404 is not taken for an answer about a blob.
func causeOfStatus(response *http.Response) error {
	if response.Request.Method != http.MethodHead || response.Header.Get("X-Request-Id") == "" {
		return nil
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return access.ErrUnauthenticated
	case http.StatusForbidden:
		return access.ErrForbidden
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

// restore makes the error that p was made from.
func (p *Problem) restore() error {
	var first FieldError
	if len(p.Errors) > 0 {
		first = p.Errors[0]
	}
	code := strings.TrimPrefix(p.Type, problemBase)
	if code == problemOffset.code && p.ExpectedOffset != nil && p.ProvidedOffset != nil {
		return &registry.OffsetError{Want: *p.ExpectedOffset, Got: *p.ProvidedOffset}
	}
	if code == problemLength.code {
		return &registry.InvalidError{Field: first.Location, Message: first.Message}
	}
	var target error
	for _, k := range kinds {
		if k.code == code {
			target = k.target
		}
	}
	switch {
	case target == registry.ErrInvalid:
		return &registry.InvalidError{Field: first.Location, Message: first.Message}
	case target == registry.ErrConflict:
		return &registry.ConflictError{Field: first.Location, Message: first.Message, Existing: p.Existing}
	case target == registry.ErrIncomplete && p.Incomplete != nil:
		return &registry.IncompleteError{Count: p.Incomplete.Count, Paths: p.Incomplete.Paths}
	case target == storage.ErrMismatch && p.Mismatch != nil:
		m := p.Mismatch
		return &storage.MismatchError{Want: m.Want, Got: m.Got, WantSize: m.WantSize, GotSize: m.GotSize}
	case target == registry.ErrNoReadyBackend && p.Explanation != nil:
		return &placement.NotReadyError{Explanation: *p.Explanation}
	case target == registry.ErrNoRule && p.Explanation != nil:
		return &placement.NoRuleError{Explanation: *p.Explanation}
	case errors.Is(target, registry.ErrInvalid), errors.Is(target, registry.ErrConflict):
		return &RemoteError{*p, nil} // promised to be typed, and came without its data
	}
	return &RemoteError{*p, target}
}
