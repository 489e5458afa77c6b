package server

import (
	"errors"
	"net/http"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Problems that are not errors of the registry.
var (
	problemHost     = kind{Code: "misdirected", Status: http.StatusMisdirectedRequest, Title: "The request is for another host"}
	problemStalled  = kind{Code: "stalled", Status: http.StatusRequestTimeout, Title: "The request body stopped arriving"}
	problemBody     = kind{Code: "body-too-large", Status: http.StatusRequestEntityTooLarge, Title: "The request body is too large"}
	problemMedia    = kind{Code: "media-type", Status: http.StatusUnsupportedMediaType, Title: "The media type of the request body is not supported"}
	problemMethod   = kind{Code: "method", Status: http.StatusMethodNotAllowed, Title: "The method is not allowed for this address"}
	problemAddress  = kind{Code: "no-such-address", Status: http.StatusNotFound, Title: "There is nothing at this address"}
	problemStopping = kind{Code: "stopping", Status: http.StatusServiceUnavailable, Title: "The server is shutting down"}
	problemNotReady = kind{Code: "not-ready", Status: http.StatusServiceUnavailable, Title: "The server is not ready"}
	problemInternal = kind{Code: "internal", Status: http.StatusInternalServerError, Title: "Internal server error"}
)

// kind is a row of the table from errors to problems.
type kind wire.Kind

// problem makes a problem of this kind. detail goes to the client.
func (k kind) problem(detail string, fields ...wire.FieldError) *problem {
	return (*problem)(wire.Kind(k).Problem(detail, fields...))
}

// problemOf is the one place where an error becomes an answer. Only texts of
// typed errors are sent, never err.Error(): what wraps them may name paths,
// hosts and queries. An error that is not in the table is problemInternal.
func problemOf(err error) *problem {
	var (
		own       *problem
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
		held      *registry.RemovalsHeldError
		unknown   *access.UnauthenticatedError
		denied    *access.ForbiddenError
		matching  = problemInternal
	)
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(err, serving.ErrHost) {
		return problemHost.problem("this server accepts requests from its own machine only", wire.At("Host", "must be localhost, an address of 127.0.0.0/8 or [::1]"))
	}
	if errors.Is(err, serving.ErrStalled) {
		return problemStalled.problem("", wire.At("body", "stopped arriving, or arrived too slowly"))
	}
	if errors.As(err, &tooLarge) {
		return problemBody.problem("", wire.At("body", "must be at most "+byteCount(tooLarge.Limit)))
	}
	if errors.As(err, &length) {
		p := kind(wire.LengthKind).problem(length.Error(), wire.At(wire.UploadLength, length.Error()))
		p.ExpectedLength, p.ProvidedLength = &length.Want, &length.Got
		return p
	}
	if errors.As(err, &offset) {
		p := kind(wire.OffsetKind).problem(offset.Error(), wire.At(wire.UploadOffset, offset.Error()))
		p.ExpectedOffset, p.ProvidedOffset = &offset.Want, &offset.Got
		return p
	}
	for _, k := range wire.Kinds {
		if errors.Is(err, k.Target) {
			matching = kind(k)
			break
		}
	}
	p := matching.problem("")
	switch matching.Target {
	case registry.ErrInvalid:
		if errors.As(err, &invalid) {
			p.Detail, p.Errors = invalid.Error(), []wire.FieldError{wire.At(invalid.Field, invalid.Message)}
		}
	case registry.ErrConflict:
		if errors.As(err, &conflict) {
			p.Detail, p.Errors, p.Existing = conflict.Error(), []wire.FieldError{wire.At(conflict.Field, conflict.Message)}, conflict.Existing
		}
	case registry.ErrUnauthenticated:
		if errors.As(err, &unknown) {
			p.Detail, p.Errors = unknown.Message, []wire.FieldError{wire.At("Authorization", unknown.Message)}
		}
	case registry.ErrForbidden:
		if errors.As(err, &denied) {
			p.Detail = denied.Error()
			p.Denied = &wire.Denied{Who: denied.Who, Verb: denied.What.Verb, Resource: denied.What.Resource + "." + access.Group, Name: denied.What.Name}
		}
	case registry.ErrIncomplete:
		if errors.As(err, &missing) {
			p.Detail, p.Incomplete = missing.Error(), &wire.IncompleteFiles{Count: missing.Count, Paths: missing.Paths}
			p.Errors = []wire.FieldError{wire.At("files", "some have no bytes yet")}
		}
	case storage.ErrMismatch:
		if errors.As(err, &mismatch) {
			p.Detail, p.Errors = mismatch.Error(), []wire.FieldError{wire.At(mismatchField(mismatch), mismatch.Error())}
			p.Mismatch = &wire.Mismatch{Want: mismatch.Want, Got: mismatch.Got, WantSize: mismatch.WantSize, GotSize: mismatch.GotSize}
		}
	case registry.ErrAbandoned:
		if errors.As(err, &abandoned) {
			p.Detail = abandoned.Error()
			p.Abandoned = &wire.Abandoned{Backend: abandoned.Backend, BackendID: abandoned.BackendID, Position: abandoned.Position}
		}
	case registry.ErrRemovalsHeld:
		if errors.As(err, &held) {
			p.Detail, p.Until = held.Error(), &held.Until
		}
	case storage.ErrRange:
		p.Errors = []wire.FieldError{wire.At("Range", "is outside the blob")}
	case storage.ErrSource:
		p.Errors = []wire.FieldError{wire.At("body", "ended before it was complete")}
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

// placeProblem is problemOf with the text of the driver, the marker or the
// state as its detail. It holds no secret, but names buckets and hosts: it is
// for those who operate a backend, not for every client.
func placeProblem(err error) *problem {
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

// ofPlace returns an error that is answered as placeProblem; nil stays nil.
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
