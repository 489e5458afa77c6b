package custody

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// RegisterBackend implements registrar.Registrar. Order of writes: the marker,
// then the event; after a crash between them the next call logs what the marker says.
func (k *Keeper) RegisterBackend(ctx context.Context, name, driver, place string, b storage.Marked) (string, error) {
	found, err := b.ReadMarker(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		found, err = k.createMarker(ctx, name, place, b)
	}
	if err != nil {
		return "", err
	}
	id, err := registrar.ParseMarker(found, k.core.LogID(), place)
	if err != nil {
		return "", err
	}
	if err := k.logBackend(ctx, event.BackendRegistered{BackendID: id, Name: name, Driver: driver, Place: place}); err != nil {
		return id, fmt.Errorf("%w: %w", registrar.ErrNotRecorded, err)
	}
	return id, nil
}

// createMarker marks a place as new, unless the log names blobs there: then its
// content is lost, and a new identity would hide that.
func (k *Keeper) createMarker(ctx context.Context, name, place string, b storage.Marked) ([]byte, error) {
	var known view.Backend
	var content bool
	err := k.core.Read(ctx, func(tx database.Tx) (err error) {
		known, content, err = view.FindBackendAt(ctx, tx, name, place)
		return core.IgnoreNotFound(err)
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registrar.ErrNotRecorded, err)
	}
	if content {
		return nil, &registrar.MarkerError{Kind: registrar.ErrNoMarker,
			Message: fmt.Sprintf("%s has none, but the log says that the backend %s holds blobs there: restore the object or the content", place, known.ID)}
	}
	data, err := registrar.NewMarker(k.core.LogID(), uuid.NewString(), k.core.Now())
	if err != nil {
		return nil, err
	}
	return b.CreateMarker(ctx, data)
}

func (k *Keeper) logBackend(ctx context.Context, registered event.BackendRegistered) error {
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
	// Looked up first without the lock of the head: this runs at every probe.
	var done bool
	if err := k.core.Read(ctx, func(tx database.Tx) (err error) {
		done, err = known(ctx, tx)
		return err
	}); err != nil || done {
		return err
	}
	logged, err := event.New(operator, registered)
	if err != nil {
		return err
	}
	err = k.core.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		if done, err := known(ctx, tx); err != nil || done {
			return nil, err
		}
		return []eventlog.Event{logged}, nil
	})
	return err
}
