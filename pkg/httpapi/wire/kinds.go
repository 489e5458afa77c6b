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
	Target error // nil if it is not an error of the registry
	Title  string
}

// StalledKind is that of a body that stops, or is too slow for others who wait.
var StalledKind = Kind{"stalled", http.StatusRequestTimeout, registry.ErrStalled, "The request body stopped arriving"}

// Kinds in order of precedence: an error that matches two of them is the first.
var Kinds = []Kind{
	{"invalid", http.StatusBadRequest, registry.ErrInvalid, "The request is invalid"},
	{"conflict", http.StatusConflict, registry.ErrConflict, "The request conflicts with what exists"},
	{"foreign-marker", http.StatusConflict, registrar.ErrForeignMarker, "The bucket or folder belongs to another log or backend"},
	{"no-marker", http.StatusConflict, registrar.ErrNoMarker, "The bucket or folder has no identity object"},
	{"older-log", http.StatusConflict, registrar.ErrOlderLog, "The event log is older than what the bucket or folder holds"},
	{"removals-held", http.StatusConflict, registry.ErrRemovalsHeld, "Removals are held back after the log was recovered"},
	{"incomplete", http.StatusConflict, registry.ErrIncomplete, "Bytes of declared files are missing"},
	{"published", http.StatusConflict, registry.ErrPublished, "The upload session is already published"},
	StalledKind,
	{"limit", http.StatusTooManyRequests, registry.ErrLimit, "The holder of the token has as much as one may have at a time"},
	{"expired", http.StatusGone, registry.ErrExpired, "The upload session has expired"},
	{"mismatch", http.StatusBadRequest, storage.ErrMismatch, "The bytes do not match what was declared"},
	{"range", http.StatusRequestedRangeNotSatisfiable, storage.ErrRange, "The range is outside the blob"},
	{"unauthenticated", http.StatusUnauthorized, registry.ErrUnauthenticated, "The request has no valid token"},
	{"forbidden", http.StatusForbidden, registry.ErrForbidden, "The holder of the token may not do this"},
	{"access-unknown", http.StatusServiceUnavailable, registry.ErrAccessUnknown, "Authentication or authorization is temporarily unavailable"},
	{"not-found", http.StatusNotFound, registry.ErrNotFound, "Not found"},
	{"no-ready-backend", http.StatusServiceUnavailable, registry.ErrNoReadyBackend, "No backend of the matching rule is ready"},
	{"no-rule", http.StatusServiceUnavailable, registry.ErrNoRule, "No routing rule matches"},
	{"abandoned", http.StatusGone, registry.ErrAbandoned, "The backend that held the blob was abandoned"},
	{"failed-location", http.StatusInternalServerError, registry.ErrFailedLocation, "Every copy of the blob is corrupt or missing"},
	{"fenced", http.StatusServiceUnavailable, registry.ErrFenced, "A newer version has written to the registry: this replica must be upgraded"},
	{"database", http.StatusServiceUnavailable, registry.ErrDatabase, "The registry's database is not available"},
	{"unknown-outcome", http.StatusServiceUnavailable, registry.ErrUnknownOutcome, "The registry lost its database during a commit: check whether the request took effect"},
	{"unavailable", http.StatusServiceUnavailable, registry.ErrUnavailable, "The backend is not available"},
	{"too-large", http.StatusRequestEntityTooLarge, storage.ErrTooLarge, "The object is larger than the backend accepts"},
	{"storage-full", http.StatusInsufficientStorage, storage.ErrFull, "The backend is full"},
	{"throttled", http.StatusServiceUnavailable, storage.ErrThrottled, "The backend is throttling requests"},
	{"unreachable", http.StatusServiceUnavailable, storage.ErrUnreachable, "The backend did not respond"},
	{"backend-denied", http.StatusServiceUnavailable, storage.ErrDenied, "The backend refused the registry's credentials, or denied it a permission"},
	{"backend-missing", http.StatusServiceUnavailable, storage.ErrNoPlace, "The backend's bucket or folder does not exist"},
	{"backend-class", http.StatusServiceUnavailable, storage.ErrClass, "The backend does not support the declared storage class"},
	{"unknown-backend", http.StatusServiceUnavailable, placement.ErrUnknownBackend, "The backend is not declared"},
	{"truncated", http.StatusBadRequest, storage.ErrSource, "The request body was interrupted"},
}

// OffsetKind is the upload draft's problem type for an offset that is not the next byte.
var OffsetKind = Kind{
	Code: "https://iana.org/assignments/http-problem-types#mismatching-upload-offset", Status: http.StatusConflict,
	Title: "The bytes do not begin where the file ends",
}

// LengthKind is the upload draft's problem type for two lengths that differ.
var LengthKind = Kind{
	Code: "https://iana.org/assignments/http-problem-types#inconsistent-upload-length", Status: http.StatusBadRequest,
	Title: "The file was declared with another length",
}

// Type is the "type" of a problem of this kind.
func (k Kind) Type() string {
	if strings.Contains(k.Code, ":") {
		return k.Code // registered elsewhere
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
