package httpapi

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// kind is one row of the table from errors to problems, read in both
// directions: by the Handler from error to problem, by the Client from code to error.
type kind struct {
	code   string
	status int
	target error
	title  string
}

// kinds in order of precedence: an error that is two of them is the first.
var kinds = []kind{
	{"invalid", http.StatusBadRequest, registry.ErrInvalid, "The input is not valid"},
	{"conflict", http.StatusConflict, registry.ErrConflict, "What is there already says otherwise"},
	{"foreign-marker", http.StatusConflict, registrar.ErrForeignMarker, "The place belongs to another log or backend"},
	{"no-marker", http.StatusConflict, registrar.ErrNoMarker, "The place has no identity object"},
	{"incomplete", http.StatusConflict, registry.ErrIncomplete, "Bytes of declared files are missing"},
	{"published", http.StatusConflict, registry.ErrPublished, "The upload session is published"},
	{"expired", http.StatusGone, registry.ErrExpired, "The upload session has expired"},
	{"mismatch", http.StatusBadRequest, storage.ErrMismatch, "The bytes are not what was declared"},
	{"range", http.StatusRequestedRangeNotSatisfiable, storage.ErrRange, "The range lies outside the blob"},
	{"unauthenticated", http.StatusUnauthorized, access.ErrUnauthenticated, "The request has no token that is known here"},
	{"forbidden", http.StatusForbidden, access.ErrForbidden, "The holder of the token may not do this"},
	{"access-unknown", http.StatusServiceUnavailable, access.ErrUnavailable, "Who asks, or what he may do, cannot be found out now"},
	{"not-found", http.StatusNotFound, registry.ErrNotFound, "There is no such thing"},
	{"no-ready-backend", http.StatusServiceUnavailable, registry.ErrNoReadyBackend, "No backend of the matching rule is ready"},
	{"no-rule", http.StatusServiceUnavailable, registry.ErrNoRule, "No routing rule matches"},
	{"abandoned", http.StatusGone, registry.ErrAbandoned, "The backend that held the blob was given up"},
	{"failed-location", http.StatusInternalServerError, registry.ErrFailedLocation, "Every copy of the blob was found corrupt or missing"},
	{"database", http.StatusServiceUnavailable, registry.ErrDatabase, "The registry's database does not answer"},
	{"unknown-outcome", http.StatusServiceUnavailable, registry.ErrUnknownOutcome, "The registry's database went away in the middle; ask again what became of the request"},
	{"unavailable", http.StatusServiceUnavailable, registry.ErrUnavailable, "The backend is not available now"},
	{"too-large", http.StatusRequestEntityTooLarge, storage.ErrTooLarge, "Larger than the backend can hold in one object"},
	{"storage-full", http.StatusInsufficientStorage, storage.ErrFull, "The backend is full"},
	{"throttled", http.StatusServiceUnavailable, storage.ErrThrottled, "The backend asks for fewer requests"},
	{"unreachable", http.StatusServiceUnavailable, storage.ErrUnreachable, "The backend did not answer"},
	{"backend-denied", http.StatusServiceUnavailable, storage.ErrDenied, "The backend refuses the registry's credentials or a permission"},
	{"backend-missing", http.StatusServiceUnavailable, storage.ErrNoPlace, "The backend's bucket or folder does not exist"},
	{"backend-class", http.StatusServiceUnavailable, storage.ErrClass, "The backend does not take the storage class of its declaration"},
	{"unknown-backend", http.StatusServiceUnavailable, placement.ErrUnknownBackend, "The backend is not declared now"},
	{"truncated", http.StatusBadRequest, storage.ErrSource, "The body broke off"},
}

// Problems that no error of the registry stands for.
var (
	problemHost     = kind{code: "misdirected", status: http.StatusMisdirectedRequest, title: "The request is for another host"}
	problemStalled  = kind{code: "stalled", status: http.StatusRequestTimeout, title: "The body stopped coming"}
	problemBody     = kind{code: "body-too-large", status: http.StatusRequestEntityTooLarge, title: "The body is too large"}
	problemMedia    = kind{code: "media-type", status: http.StatusUnsupportedMediaType, title: "The body's format is not one that is taken here"}
	problemMethod   = kind{code: "method", status: http.StatusMethodNotAllowed, title: "The method is not one of this address"}
	problemAddress  = kind{code: "no-such-address", status: http.StatusNotFound, title: "There is nothing at this address"}
	problemStopping = kind{code: "stopping", status: http.StatusServiceUnavailable, title: "The server is stopping"}
	problemNotReady = kind{code: "not-ready", status: http.StatusServiceUnavailable, title: "The server is not ready"}
	problemInternal = kind{code: "internal", status: http.StatusInternalServerError, title: "Something went wrong inside the server"}
)

// problem makes a problem of this kind. detail goes to the client.
func (k kind) problem(detail string, fields ...FieldError) *Problem {
	problemType := problemBase + k.code
	if strings.Contains(k.code, ":") {
		problemType = k.code // one that is registered elsewhere
	}
	return &Problem{Type: problemType, Title: k.title, Status: k.status, Detail: detail, Errors: fields}
}

// problemOf is the one place where an error becomes an answer. Only the typed
// errors' own words go out, never err.Error(): what wraps them may name paths,
// hosts and queries. An error that is not in the table is problemInternal.
func problemOf(err error) *Problem {
	var (
		own       *Problem
		tooLarge  *http.MaxBytesError
		invalid   *registry.InvalidError
		conflict  *registry.ConflictError
		missing   *registry.IncompleteError
		mismatch  *storage.MismatchError
		notReady  *placement.NotReadyError
		noRule    *placement.NoRuleError
		offset    *registry.OffsetError
		length    *registry.LengthError
		abandoned *registry.AbandonedError
		unknown   *access.UnauthenticatedError
		denied    *access.ForbiddenError
		matching  = problemInternal
	)
	if errors.As(err, &own) {
		return own
	}
	if errors.As(err, &tooLarge) {
		return problemBody.problem("", FieldError{"body", "must be at most " + byteCount(tooLarge.Limit)})
	}
	if errors.As(err, &length) {
		return problemLength.problem(length.Error(), FieldError{uploadLength, length.Error()})
	}
	if errors.As(err, &offset) {
		p := problemOffset.problem(offset.Error(), FieldError{uploadOffset, offset.Error()})
		p.ExpectedOffset, p.ProvidedOffset = &offset.Want, &offset.Got
		return p
	}
	for _, k := range kinds {
		if errors.Is(err, k.target) {
			matching = k
			break
		}
	}
	p := matching.problem("")
	switch matching.target {
	case registry.ErrInvalid:
		if errors.As(err, &invalid) {
			p.Detail, p.Errors = invalid.Error(), []FieldError{{invalid.Field, invalid.Message}}
		}
	case registry.ErrConflict:
		if errors.As(err, &conflict) {
			p.Detail, p.Errors, p.Existing = conflict.Error(), []FieldError{{conflict.Field, conflict.Message}}, conflict.Existing
		}
	case access.ErrUnauthenticated:
		if errors.As(err, &unknown) {
			p.Detail, p.Errors = unknown.Message, []FieldError{{"Authorization", unknown.Message}}
		}
	case access.ErrForbidden:
		if errors.As(err, &denied) {
			p.Detail = denied.Error()
			p.Denied = &Denied{denied.Who, denied.What.Verb, denied.What.Resource + "." + access.Group, denied.What.Name}
		}
	case registry.ErrIncomplete:
		if errors.As(err, &missing) {
			p.Detail, p.Incomplete = missing.Error(), &IncompleteFiles{missing.Count, missing.Paths}
			p.Errors = []FieldError{{"files", "are declared without bytes"}}
		}
	case storage.ErrMismatch:
		if errors.As(err, &mismatch) {
			p.Detail, p.Errors = mismatch.Error(), []FieldError{{mismatchField(mismatch), mismatch.Error()}}
			p.Mismatch = &Mismatch{mismatch.Want, mismatch.Got, mismatch.WantSize, mismatch.GotSize}
		}
	case registry.ErrAbandoned:
		if errors.As(err, &abandoned) {
			p.Detail = abandoned.Error()
		}
	case storage.ErrRange:
		p.Errors = []FieldError{{"Range", "lies outside the blob"}}
	case storage.ErrSource:
		p.Errors = []FieldError{{"body", "ended before it was complete"}}
	case registry.ErrNoReadyBackend:
		if errors.As(err, &notReady) {
			p.Detail, p.Explanation = notReady.Explanation.Reason, &notReady.Explanation
		}
	case registry.ErrNoRule:
		if errors.As(err, &noRule) {
			p.Detail, p.Explanation = noRule.Explanation.Reason, &noRule.Explanation
		}
	}
	return p
}

// placeProblem is problemOf with words of the driver, the marker or the state,
// which hold no secret, for those who tend a backend: others need not know its bucket and host.
func placeProblem(err error) *Problem {
	var (
		p           = problemOf(err)
		marker      *registrar.MarkerError
		unavailable *registry.UnavailableError
		place       *storage.PlaceError
	)
	switch {
	case p.Detail != "":
	case errors.As(err, &marker):
		p.Detail = marker.Message
	case errors.As(err, &unavailable):
		p.Detail = unavailable.State()
	case errors.As(err, &place):
		p.Detail = place.Message
	}
	return p
}

// ofPlace has err answered by placeProblem; nil stays nil.
func ofPlace(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(placeProblem(err), err)
}

func mismatchField(e *storage.MismatchError) string {
	if e.WantSize != storage.UnknownSize && e.WantSize != e.GotSize {
		return "size"
	}
	return "Repr-Digest"
}

// bodyProblem answers a body that could not be read to its end.
func bodyProblem(err error) *Problem {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problemStalled.problem("", FieldError{"body", "stopped coming, or came too slowly"})
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problemOf(err)
	}
	return problemOf(storage.ErrSource)
}

// clientGone reports whether nobody is left to answer.
func clientGone(ctx context.Context, err error) bool {
	return errors.Is(err, context.Canceled) && ctx.Err() != nil
}
