package custody

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ReleaseBackend implements registrar.Registrar.
func (k *Keeper) ReleaseBackend(ctx context.Context, leaving registrar.Leaving) (released registrar.Released, err error) {
	// Counted under the lock of the log's head, which publishing takes too: a
	// publication is either counted here or refused afterwards.
	err = k.core.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		released = registrar.Released{ID: leaving.ID}
		if released.ID == "" {
			known, _, err := view.FindBackendAt(ctx, tx, leaving.Name, leaving.Place)
			if err != nil {
				return nil, core.IgnoreNotFound(err)
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
			return nil, core.IgnoreNotFound(err)
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
		return registrar.Released{}, fmt.Errorf("ending the backend %s: %w", leaving.Name, err)
	}
	return released, nil
}
