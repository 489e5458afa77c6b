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
	problemSite     = kind{Code: "cross-site", Status: http.StatusForbidden, Title: "The request comes from a web page of another site"}
	problemStalled  = kind(wire.StalledKind)
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
	if own, is := errors.AsType[*problem](err); is {
		return own
	}
	if p := requestProblem(err); p != nil {
		return p
	}
	matching := problemInternal
	for _, k := range wire.Kinds {
		if errors.Is(err, k.Target) {
			matching = kind(k)
			break
		}
	}
	p := matching.problem("")
	p.describe(err, matching.Target)
	return p
}

// requestProblem answers errors that are not in the table: those of package
// serving, and those of the upload draft. nil means that err is none of them.
func requestProblem(err error) *problem {
	if errors.Is(err, serving.ErrHost) {
		return problemHost.problem("this server accepts requests from its own machine only", wire.At("Host", "must be localhost, an address of 127.0.0.0/8 or [::1]"))
	}
	if errors.Is(err, serving.ErrOtherSite) {
		return problemSite.problem("a browser sends this request for a page of another site; send it from a page of this server or from another program", wire.At("Origin", "must be that of this server"))
	}
	if errors.Is(err, serving.ErrStalled) || errors.Is(err, registry.ErrStalled) {
		return problemStalled.problem("", wire.At("body", "stopped arriving, or arrived too slowly"))
	}
	if busy, is := errors.AsType[*serving.BusyError](err); is {
		p := problemOf(&registry.LimitError{Message: busy.Message})
		p.Soon = true
		return p
	}
	if tooLarge, is := errors.AsType[*http.MaxBytesError](err); is {
		return problemBody.problem("", wire.At("body", "must be at most "+byteCount(tooLarge.Limit)))
	}
	if length, is := errors.AsType[*registry.LengthError](err); is {
		p := kind(wire.LengthKind).problem(length.Error(), wire.At(wire.UploadLength, length.Error()))
		p.ExpectedLength, p.ProvidedLength = &length.Want, &length.Got
		return p
	}
	if offset, is := errors.AsType[*registry.OffsetError](err); is {
		p := kind(wire.OffsetKind).problem(offset.Error(), wire.At(wire.UploadOffset, offset.Error()))
		p.ExpectedOffset, p.ProvidedOffset = &offset.Want, &offset.Got
		return p
	}
	return nil
}

// describe adds the data of err, which is a target.
func (p *problem) describe(err, target error) {
	switch target {
	case storage.ErrRange:
		p.Errors = []wire.FieldError{wire.At("Range", "is outside the blob")}
	case storage.ErrSource:
		p.Errors = []wire.FieldError{wire.At("body", "ended before it was complete")}
	case storage.ErrMismatch:
		if e, is := errors.AsType[*storage.MismatchError](err); is {
			p.Detail, p.Errors = e.Error(), []wire.FieldError{wire.At(mismatchField(e), e.Error())}
			p.Mismatch = &wire.Mismatch{Want: e.Want, Got: e.Got, WantSize: e.WantSize, GotSize: e.GotSize}
		}
	case registry.ErrInvalid:
		if e, is := errors.AsType[*registry.InvalidError](err); is {
			p.Detail, p.Errors = e.Error(), []wire.FieldError{wire.At(e.Field, e.Message)}
		}
	case registry.ErrConflict:
		if e, is := errors.AsType[*registry.ConflictError](err); is {
			p.Detail, p.Errors, p.Existing = e.Error(), []wire.FieldError{wire.At(e.Field, e.Message)}, e.Existing
		}
	case registry.ErrLimit:
		if e, is := errors.AsType[*registry.LimitError](err); is {
			p.Detail = e.Message
		}
	case registry.ErrUnauthenticated:
		if e, is := errors.AsType[*access.UnauthenticatedError](err); is {
			p.Detail, p.Errors = e.Message, []wire.FieldError{wire.At("Authorization", e.Message)}
		}
	case registry.ErrForbidden:
		if e, is := errors.AsType[*access.ForbiddenError](err); is {
			p.Detail = e.Error()
			p.Denied = &wire.Denied{Who: e.Who, Verb: e.What.Verb, Resource: e.What.Resource + "." + access.Group, Name: e.What.Name}
		}
	case registry.ErrDatabase:
		if e, is := errors.AsType[*registry.DatabaseError](err); is {
			p.Detail = e.Message
		}
	case registry.ErrIncomplete:
		if e, is := errors.AsType[*registry.IncompleteError](err); is {
			p.Detail, p.Incomplete = e.Error(), &wire.IncompleteFiles{Count: e.Count, Files: e.Files, Paths: e.Paths, Partial: e.Partial}
			p.Errors = []wire.FieldError{wire.At("files", "bytes of some are missing")}
		}
	case registry.ErrAbandoned:
		if e, is := errors.AsType[*registry.AbandonedError](err); is {
			p.Detail, p.Abandoned = e.Error(), &wire.Abandoned{Backend: e.Backend, BackendID: e.BackendID, Position: e.Position}
		}
	case registry.ErrRemovalsHeld:
		if e, is := errors.AsType[*registry.RemovalsHeldError](err); is {
			p.Detail, p.Until = e.Error(), &e.Until
		}
	case registry.ErrNoReadyBackend:
		if e, is := errors.AsType[*placement.NotReadyError](err); is {
			p.Detail, p.Explanation = e.Explanation.Reason, &e.Explanation
		}
	case registry.ErrNoRule:
		if e, is := errors.AsType[*placement.NoRuleError](err); is {
			p.Detail, p.Explanation = e.Explanation.Reason, &e.Explanation
		}
	}
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
