package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/headmark"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/service/custody"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// AcceptOlderLog is custody.Keeper's, on a database beside which a Service may
// run or not. It needs no backend: what marks they have is known from the last look.
func AcceptOlderLog(ctx context.Context, db *database.DB, reason string) (backends []string, err error) {
	views := view.New(db)
	log, err := eventlog.Open(ctx, db, views.Apply, time.Now, eventlog.Knows(event.Level), eventlog.Folds(views.Fold))
	if err != nil {
		return nil, fmt.Errorf("opening the event log: %w", err)
	}
	defer log.Close() //nolint:errcheck // does not fail
	if err := errors.Join(views.Open(ctx), headmark.Migrate(ctx, db)); err != nil {
		return nil, err
	}
	return custody.New(core.New(db, log, nil, time.Now, slog.Default()), 0).AcceptOlderLog(ctx, reason)
}
