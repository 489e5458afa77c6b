package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// marker is the content of a place's identity object, in JSON for whoever
// opens the bucket in ten years. Fields may be added, never changed.
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

// RegisterBackend implements placement.Registrar. Order of writes: the marker,
// then the event; after a crash between them the next call logs what the
// marker says.
func (s *Service) RegisterBackend(ctx context.Context, name, driver, place string, b storage.Marked) (string, error) {
	found, err := b.ReadMarker(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		found, err = s.createMarker(ctx, name, place, b)
	}
	if err != nil {
		return "", err
	}
	m, err := parseMarker(found, s.log.ID(), place)
	if err != nil {
		return "", err
	}
	return m.BackendID, s.logBackend(ctx, event.BackendRegistered{BackendID: m.BackendID, Name: name, Driver: driver, Place: place})
}

func parseMarker(found []byte, logID, place string) (marker, error) {
	var m marker
	if err := json.Unmarshal(found, &m); err != nil || m.Format != markerFormat || m.BackendID == "" {
		return m, foreign("what stands at %s as %s is not the identity of a backend", place, storage.MarkerKey)
	}
	if m.LogID != logID {
		return m, foreign("%s belongs to the log %s, this one is %s", place, m.LogID, logID)
	}
	return m, nil
}

func foreign(format string, args ...any) error {
	return &placement.MarkerError{Kind: placement.ErrForeignMarker, Message: fmt.Sprintf(format, args...)}
}

// checkMarker reports whether the place still is the backend that it was.
func (s *Service) checkMarker(ctx context.Context, b placement.Backend) error {
	marked, ok := b.Store.(storage.Marked)
	if !ok {
		return nil
	}
	return CheckMarker(ctx, marked, s.log.ID(), b)
}

// CheckMarker fails unless the identity object of a place is that of the log's
// backend: what is missing from another place says nothing about this
// backend's blobs. b has the backend's id, name and place. The error is a
// *placement.MarkerError, or the driver's where the place did not show the object.
func CheckMarker(ctx context.Context, marked storage.Marked, logID string, b placement.Backend) error {
	where := b.Name
	if b.Place != "" {
		where += " (" + b.Place + ")"
	}
	found, err := marked.ReadMarker(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return &placement.MarkerError{Kind: placement.ErrNoMarker, Message: fmt.Sprintf("%s answers, but %s is not there, so that nothing in it is taken for this backend's: "+
			"mount the right volume or mend the declaration, or restore the object, or the content with it, from a backup", where, storage.MarkerKey)}
	}
	if err != nil {
		return fmt.Errorf("reading the identity object of %s: %w", where, err)
	}
	m, err := parseMarker(found, logID, where)
	if err == nil && m.BackendID != b.ID {
		err = foreign("%s holds the backend %s, not %s", where, m.BackendID, b.ID)
	}
	return err
}

// createMarker marks a place as new, unless the log says that it is not: then
// its content is gone, and a new identity would hide that.
func (s *Service) createMarker(ctx context.Context, name, place string, b storage.Marked) ([]byte, error) {
	var known view.Backend
	var content bool
	err := s.db.Read(ctx, func(tx database.Tx) (err error) {
		known, content, err = view.FindBackendAt(ctx, tx, name, place)
		return ignoreNotFound(err)
	})
	if err != nil {
		return nil, err
	}
	if content {
		return nil, &placement.MarkerError{Kind: placement.ErrNoMarker,
			Message: fmt.Sprintf("%s has none, but the log says that the backend %s holds blobs there; restore the object or the content", place, known.ID)}
	}
	data, err := json.MarshalIndent(marker{
		Format: markerFormat, LogID: s.log.ID(), BackendID: uuid.NewString(),
		Created: s.now().UTC().Format("2006-01-02T15:04:05Z07:00"), Note: markerNote,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return b.CreateMarker(ctx, append(data, '\n'))
}

func (s *Service) logBackend(ctx context.Context, registered event.BackendRegistered) error {
	known := func(ctx context.Context, tx database.Tx) (bool, error) {
		_, err := view.FindBackend(ctx, tx, registered.BackendID)
		if errors.Is(err, view.ErrNotFound) {
			return false, nil
		}
		if err == nil {
			// One that was abandoned is declared again.
			if _, err = view.FindAbandoned(ctx, tx, registered.BackendID); errors.Is(err, view.ErrNotFound) {
				return true, nil
			}
		}
		return false, err
	}
	// Looked up first without the head's lock: this runs at every probe.
	var done bool
	if err := s.db.Read(ctx, func(tx database.Tx) (err error) {
		done, err = known(ctx, tx)
		return err
	}); err != nil || done {
		return err
	}
	logged, err := event.New(operator, registered)
	if err != nil {
		return err
	}
	_, err = s.log.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		if done, err := known(ctx, tx); err != nil || done {
			return nil, err
		}
		return []eventlog.Event{logged}, nil
	})
	return err
}
