package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// What is wrong with a marker.
var (
	// ErrForeignMarker: the place belongs to another log or another backend.
	ErrForeignMarker = errors.New("the place belongs to another log or backend")
	// ErrNoMarker: the place answered, and its marker is missing.
	ErrNoMarker = errors.New("the place has no identity object")
	// ErrOlderLog: the place's head mark says that the log had come further, or another way.
	ErrOlderLog = errors.New("the event log is older than the place")
	// ErrNotRecorded: the log could not be asked about a backend, or record it. It says
	// nothing of the place.
	ErrNotRecorded = errors.New("the log could not be asked about the backend, or record it")
)

// MarkerError says without secrets which place it is, what its marker says, and
// what it should say. It unwraps to Kind: ErrForeignMarker,
// ErrNoMarker or ErrOlderLog.
type MarkerError struct {
	Kind    error
	Message string
}

func (e *MarkerError) Error() string { return e.Kind.Error() + ": " + e.Message }

// Unwrap gives Kind.
func (e *MarkerError) Unwrap() error { return e.Kind }

// marker is the content of a place's identity object, in JSON for people who open
// the bucket in ten years. Fields may be added, never changed.
type marker struct {
	Format    string `json:"format"` // markerFormat
	LogID     string `json:"logId"`
	BackendID string `json:"backendId"`
	Created   string `json:"created"` // RFC 3339
	Note      string `json:"note"`
}

const (
	markerFormat = "artifactstore.dev/identity/v1"
	markerNote   = "This place belongs to an artifact-store. Do not delete: without this object nothing is written here any more."
)

// NewMarker returns the marker of a place that becomes a backend of a log.
func NewMarker(logID, backendID string, created time.Time) ([]byte, error) {
	data, err := json.MarshalIndent(marker{
		Format: markerFormat, LogID: logID, BackendID: backendID,
		Created: created.UTC().Format("2006-01-02T15:04:05Z07:00"), Note: markerNote,
	}, "", "  ")
	return append(data, '\n'), err
}

// ParseMarker returns the id of the backend that a marker found at the place
// names. An ErrForeignMarker if it is none, or is of another log.
func ParseMarker(found []byte, logID, place string) (backendID string, err error) {
	var m marker
	if err := json.Unmarshal(found, &m); err != nil || m.Format != markerFormat || m.BackendID == "" {
		return "", foreign("the object %[2]s at %[1]s is not the identity of a backend", place, storage.MarkerKey)
	}
	if m.LogID != logID {
		return "", foreign("%s belongs to the log %.80q, this one is %s", place, m.LogID, logID)
	}
	return m.BackendID, nil
}

func foreign(format string, args ...any) error {
	return &MarkerError{Kind: ErrForeignMarker, Message: fmt.Sprintf(format, args...)}
}

// Owner is whose a place must be.
type Owner struct {
	LogID, BackendID string
	// Name of the backend and its place, for messages; Place may be "".
	Name, Place string
}

// CheckMarker fails unless the marker of a place names this owner: what is
// missing from another place says nothing about this backend's blobs. The error
// is a *MarkerError, or the driver's if the marker could not be read.
func CheckMarker(ctx context.Context, marked storage.Marked, owner Owner) error {
	where := owner.Name
	if owner.Place != "" {
		where += " (" + owner.Place + ")"
	}
	found, err := marked.ReadMarker(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return &MarkerError{Kind: ErrNoMarker, Message: fmt.Sprintf("%s answers, but %s is missing, so nothing in it counts as this backend's: "+
			"mount the right volume, correct the declaration, or restore the object, or all of the content, from a backup", where, storage.MarkerKey)}
	}
	if err != nil {
		return fmt.Errorf("reading the identity object of %s: %w", where, err)
	}
	id, err := ParseMarker(found, owner.LogID, where)
	if err == nil && id != owner.BackendID {
		err = foreign("%s holds the backend %.80q, not %s", where, id, owner.BackendID)
	}
	return err
}
