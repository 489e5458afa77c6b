package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// AbandonBackend implements placement.Registrar.
func (s *Service) AbandonBackend(ctx context.Context, id, name string) error {
	_, err := s.log.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		held, err := view.FindFindings(ctx, tx, id)
		if err != nil || held.Live+held.Corrupt+held.Missing == 0 {
			return nil, err
		}
		abandoned, err := event.New(operator, event.BackendAbandoned{BackendID: id, Name: name, Live: held.Live, Failed: held.Corrupt + held.Missing})
		if err != nil {
			return nil, err
		}
		return []eventlog.Event{abandoned}, nil
	})
	if err != nil {
		return fmt.Errorf("abandoning the backend %s: %w", id, err)
	}
	return nil
}

// checkAbandoned refuses to name new locations in a backend that was given up
// while bytes were on their way to it. Under the lock of the log's head.
func checkAbandoned(ctx context.Context, tx database.Tx, id, name string) error {
	position, err := view.FindAbandoned(ctx, tx, id)
	if errors.Is(err, view.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s was given up by event %d; begin a new upload", ErrUnavailable, name, position)
}

// gone is why a blob without a live location cannot be read.
func (s *Service) gone(ctx context.Context, locations []view.Location) error {
	for _, l := range locations {
		if l.Reason != view.ReasonAbandoned {
			return ErrFailedLocation
		}
	}
	if len(locations) == 0 {
		return ErrFailedLocation
	}
	last := &AbandonedError{BackendID: locations[len(locations)-1].BackendID}
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
