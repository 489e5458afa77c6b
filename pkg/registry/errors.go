package registry

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// The sentinels that callers tell apart. Those of storage, placement and
// registrar pass unchanged: storage.ErrMismatch, storage.ErrRange, storage.ErrUnreachable, placement.ErrNoReadyBackend, …
var (
	// ErrInvalid: the caller's input is wrong. Always an *InvalidError.
	ErrInvalid = errors.New("invalid input")
	// ErrNotFound: there is no such package, blob, session or backend (or the caller may not know of it).
	ErrNotFound = errors.New("not found")
	// ErrConflict: the request contradicts what exists. Always a *ConflictError.
	ErrConflict = errors.New("conflict")
	// ErrPublished: the session is sealed and cannot change.
	ErrPublished = errors.New("the upload session is published")
	// ErrExpired: the session's time is over.
	ErrExpired = errors.New("the upload session has expired")
	// ErrStalled: the bytes of a request came too slowly while others waited for what it held.
	ErrStalled = errors.New("the bytes came too slowly while others waited")
	// ErrLimit: the holder of the token has as much as one may have at a time. Always a *LimitError.
	ErrLimit = errors.New("a limit of one holder is reached")
	// ErrIncomplete: bytes of declared files were not sent. Always an *IncompleteError.
	ErrIncomplete = errors.New("bytes are missing")
	// ErrNoReadyBackend and ErrNoRule are the routing table's.
	ErrNoReadyBackend = placement.ErrNoReadyBackend
	ErrNoRule         = placement.ErrNoRule
	// ErrDatabase: the registry's database does not answer now, or refuses. Nothing
	// was changed. Often a *DatabaseError.
	ErrDatabase = errors.New("the database does not answer")
	// ErrUnknownOutcome: the database went away during a commit. The caller must
	// look whether the request had its effect.
	ErrUnknownOutcome = errors.New("the outcome of the transaction is unknown")
	// ErrFenced: a newer replica has written what this one does not know. It
	// serves nothing until it is upgraded; others do.
	ErrFenced = errors.New("a newer version has written to the registry: this replica must be upgraded")
	// ErrRemovalsHeld: the log was recovered from an older copy, and nothing is
	// removed for a while. Always a *RemovalsHeldError.
	ErrRemovalsHeld = errors.New("removals are held back")
	// ErrFailedLocation: the log names the blob, and every copy is corrupt or missing.
	ErrFailedLocation = errors.New("every copy of the blob is corrupt or missing")
	// ErrAbandoned: the log names the blob, and every backend that held it was abandoned.
	ErrAbandoned = errors.New("the backend that held the blob was abandoned")
	// ErrUnavailable: the backend is not declared, or not reachable now.
	ErrUnavailable = errors.New("the backend that holds the blob is not available")
	// ErrUnauthenticated, ErrForbidden and ErrAccessUnknown come from pkg/access,
	// which guards a registry: the caller is not known; the caller may not do this;
	// neither can be determined at the moment.
	ErrUnauthenticated = errors.New("not authenticated")
	ErrForbidden       = errors.New("forbidden")
	ErrAccessUnknown   = errors.New("authentication or authorization is temporarily unavailable")
)

// UnavailableError says why a backend is not available: the reason ("" for
// none) and the message of its first problem. They may name its place.
type UnavailableError struct{ Backend, Reason, Message string }

func (e *UnavailableError) Error() string {
	return ErrUnavailable.Error() + ": " + e.Backend + ": " + e.State()
}

// State is the reason and the message.
func (e *UnavailableError) State() string {
	if e.Reason == "" {
		return e.Message
	}
	return e.Reason + ": " + e.Message
}

// Is makes it an ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// DatabaseError says in words what the database refuses.
type DatabaseError struct {
	Message string // "" if it just does not answer
	Reads   bool   // only writing is refused
}

func (e *DatabaseError) Error() string { return cmp.Or(e.Message, ErrDatabase.Error()) }

// Is makes it an ErrDatabase.
func (e *DatabaseError) Is(target error) bool { return target == ErrDatabase }

// InvalidError names the field (dotted, camelCase: "files[3].path") and what was expected.
type InvalidError struct{ Field, Message string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

// Is makes it an ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Invalid makes an *InvalidError.
func Invalid(field, format string, args ...any) error {
	return &InvalidError{field, fmt.Sprintf(format, args...)}
}

// ConflictError names the field that contradicts what exists.
type ConflictError struct {
	Field, Message string
	// Existing is the manifest of the published version, if that is the conflict.
	Existing digest.Digest
}

func (e *ConflictError) Error() string { return e.Field + ": " + e.Message }

// Is makes it an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// LimitError says of what a holder has too much.
type LimitError struct{ Message string }

func (e *LimitError) Error() string { return e.Message }

// Is makes it an ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// IncompleteError says how many of how many files are incomplete, and lists the first.
type IncompleteError struct {
	Count int
	Files int      // declared in the session, or in the manifest that was sent with the files
	Paths []string // at most 10; from PublishFiles at most MaxFilesAtOnce
	// Partial are those of Paths of which bytes have arrived (Resumes), but not which are the last.
	Partial []PartialFile
}

// PartialFile is a file of which Offset bytes have arrived; its Size is
// storage.UnknownSize if it is not known.
type PartialFile struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
}

func (e *IncompleteError) Error() string {
	text := fmt.Sprintf("files: the bytes of %d of %d declared files are missing, first %q", e.Count, e.Files, e.Paths[:min(10, len(e.Paths))])
	for _, file := range e.Partial {
		text += "; " + file.String()
	}
	return text
}

// String says what is missing.
func (f PartialFile) String() string {
	switch f.Size {
	case f.Offset:
		return fmt.Sprintf("all %d bytes of %q have arrived, but it was not completed (Upload-Complete: ?1)", f.Offset, f.Path)
	case storage.UnknownSize:
		return fmt.Sprintf("%d bytes of %q have arrived, but it was not completed", f.Offset, f.Path)
	}
	return fmt.Sprintf("%d of %d bytes of %q have arrived", f.Offset, f.Size, f.Path)
}

// Is makes it an ErrIncomplete.
func (e *IncompleteError) Is(target error) bool { return target == ErrIncomplete }

// AbandonedError names the event by which the last backend that held a blob was abandoned.
type AbandonedError struct {
	Backend, BackendID string // its name then
	Position           uint64 // of v1.backend.abandoned; 0 if it is declared again and not verified since
}

func (e *AbandonedError) Error() string {
	if e.Position == 0 {
		return fmt.Sprintf("the backend %q (%s) that held the only copy was abandoned and is declared again, and its blobs have not been verified since", e.Backend, e.BackendID)
	}
	return fmt.Sprintf("the backend %q (%s) that held the only copy was abandoned (event %d); push the content again", e.Backend, e.BackendID, e.Position)
}

// Is makes it an ErrAbandoned.
func (e *AbandonedError) Is(target error) bool { return target == ErrAbandoned }

// LengthError: two requests give different lengths of a file, in bytes.
type LengthError struct{ Want, Got int64 }

func (e *LengthError) Error() string {
	return fmt.Sprintf("uploadLength: the length of the file is %d bytes according to an earlier request, %d according to this one", e.Want, e.Got)
}

// Is makes it an ErrInvalid.
func (e *LengthError) Is(target error) bool { return target == ErrInvalid }

// OffsetError: bytes were sent for another offset than the end of the file.
type OffsetError struct{ Want, Got int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("uploadOffset: the next byte is %d, the request begins at %d", e.Want, e.Got)
}

// Is makes it an ErrConflict.
func (e *OffsetError) Is(target error) bool { return target == ErrConflict }

// RemovalsHeldError says until when nothing is removed.
type RemovalsHeldError struct{ Until time.Time }

func (e *RemovalsHeldError) Error() string {
	return "the event log was recovered from an older copy, so nothing is removed before " + e.Until.UTC().Format(time.RFC3339)
}

// Is makes it an ErrRemovalsHeld.
func (e *RemovalsHeldError) Is(target error) bool { return target == ErrRemovalsHeld }
