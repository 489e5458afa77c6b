package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ReleaseBackend implements registrar.Registrar.
func (s *Service) ReleaseBackend(ctx context.Context, leaving registrar.Leaving) (released registrar.Released, err error) {
	// Counted under the lock of the log's head, which seal takes too: what is
	// published is counted before, or refused after.
	err = s.append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		released = registrar.Released{ID: leaving.ID}
		if released.ID == "" {
			known, _, err := view.FindBackendAt(ctx, tx, leaving.Name, leaving.Place)
			if err != nil {
				return nil, ignoreNotFound(err)
			}
			released.ID = known.ID
		}
		held, err := view.FindFindings(ctx, tx, released.ID)
		if err != nil {
			return nil, err
		}
		if released.Live = held.Live; held.Live > 0 && leaving.Abandon != released.ID {
			released.Held = true
			return nil, nil
		}
		if _, err := view.FindBackend(ctx, tx, released.ID); err != nil {
			return nil, ignoreNotFound(err)
		}
		if _, err := view.FindAbandoned(ctx, tx, released.ID); !errors.Is(err, view.ErrNotFound) {
			return nil, err
		}
		abandoned, err := event.New(operator, event.BackendAbandoned{BackendID: released.ID, Name: leaving.Name, Live: held.Live, Failed: held.Corrupt + held.Missing})
		if err != nil {
			return nil, err
		}
		return []eventlog.Event{abandoned}, nil
	})
	if err != nil {
		return registrar.Released{}, fmt.Errorf("letting go of the backend %s: %w", leaving.Name, err)
	}
	return released, nil
}

// checkAbandoned refuses to name new locations in a backend that was given up,
// or let go, while bytes were on their way to it. Under the lock of the log's head.
func checkAbandoned(ctx context.Context, tx database.Tx, id, name string) error {
	position, err := view.FindAbandoned(ctx, tx, id)
	if errors.Is(err, view.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s is a backend no longer since event %d; begin a new upload", registry.ErrUnavailable, name, position)
}

// gone is why a blob without a live location cannot be read.
func (s *Service) gone(ctx context.Context, locations []view.Location) error {
	for _, l := range locations {
		if l.Reason != view.ReasonAbandoned {
			return registry.ErrFailedLocation
		}
	}
	if len(locations) == 0 {
		return registry.ErrFailedLocation
	}
	last := &registry.AbandonedError{BackendID: locations[len(locations)-1].BackendID}
	err := s.read(ctx, func(tx database.Tx) error {
		backend, err := view.FindBackend(ctx, tx, last.BackendID)
		if err != nil {
			return err
		}
		last.Backend = backend.Name
		// It may be a backend again, of which nobody has looked at what it holds.
		if last.Position, err = view.FindAbandoned(ctx, tx, last.BackendID); errors.Is(err, view.ErrNotFound) {
			return nil
		}
		return err
	})
	return errors.Join(err, last)
}
