package wire

import (
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// problemBase and a code make the "type" of a problem.
const problemBase = "https://artifactstore.dev/problems/"

// Kind is one row of the table from errors to problems. It is read in both
// directions: by the server from error to problem, by the client from code to error.
type Kind struct {
	Code   string
	Status int
	Target error // nil if no error of the registry stands for it
	Title  string
}

// Kinds in order of precedence: an error that is two of them is the first.
var Kinds = []Kind{
	{"invalid", http.StatusBadRequest, registry.ErrInvalid, "The input is not valid"},
	{"conflict", http.StatusConflict, registry.ErrConflict, "What is there already says otherwise"},
	{"foreign-marker", http.StatusConflict, registrar.ErrForeignMarker, "The place belongs to another log or backend"},
	{"no-marker", http.StatusConflict, registrar.ErrNoMarker, "The place has no identity object"},
	{"incomplete", http.StatusConflict, registry.ErrIncomplete, "Bytes of declared files are missing"},
	{"published", http.StatusConflict, registry.ErrPublished, "The upload session is published"},
	{"expired", http.StatusGone, registry.ErrExpired, "The upload session has expired"},
	{"mismatch", http.StatusBadRequest, storage.ErrMismatch, "The bytes are not what was declared"},
	{"range", http.StatusRequestedRangeNotSatisfiable, storage.ErrRange, "The range lies outside the blob"},
	{"unauthenticated", http.StatusUnauthorized, registry.ErrUnauthenticated, "The request has no token that is known here"},
	{"forbidden", http.StatusForbidden, registry.ErrForbidden, "The holder of the token may not do this"},
	{"access-unknown", http.StatusServiceUnavailable, registry.ErrAccessUnknown, "Who asks, or what he may do, cannot be found out now"},
	{"not-found", http.StatusNotFound, registry.ErrNotFound, "There is no such thing"},
	{"no-ready-backend", http.StatusServiceUnavailable, registry.ErrNoReadyBackend, "No backend of the matching rule is ready"},
	{"no-rule", http.StatusServiceUnavailable, registry.ErrNoRule, "No routing rule matches"},
	{"abandoned", http.StatusGone, registry.ErrAbandoned, "The backend that held the blob was given up"},
	{"failed-location", http.StatusInternalServerError, registry.ErrFailedLocation, "Every copy of the blob was found corrupt or missing"},
	{"fenced", http.StatusServiceUnavailable, registry.ErrFenced, "A newer version has written to the registry: this replica must be upgraded"},
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

// OffsetKind is the draft's problem type for an offset that is not the next byte.
var OffsetKind = Kind{
	Code: "https://iana.org/assignments/http-problem-types#mismatching-upload-offset", Status: http.StatusConflict,
	Title: "The bytes do not begin where the file ends",
}

// LengthKind is the draft's problem type for two lengths that differ.
var LengthKind = Kind{
	Code: "https://iana.org/assignments/http-problem-types#inconsistent-upload-length", Status: http.StatusBadRequest,
	Title: "The file was said to have another length",
}

// Type is the "type" of a problem of this kind.
func (k Kind) Type() string {
	if strings.Contains(k.Code, ":") {
		return k.Code // one that is registered elsewhere
	}
	return problemBase + k.Code
}

// Problem makes a problem of this kind. detail goes to the client.
func (k Kind) Problem(detail string, fields ...FieldError) *Problem {
	return &Problem{Type: k.Type(), Title: k.Title, Status: k.Status, Detail: detail, Errors: fields}
}

// KindOf finds the row of a problem's type.
func KindOf(problemType string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Type() == problemType {
			return k, true
		}
	}
	return Kind{}, false
}
