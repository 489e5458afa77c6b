package inprocess

import (
	"context"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// openViews opens a log with the views, as the service does. base/views_test.go.txt is
// this file for the commit that is compared with.
func openViews(ctx context.Context, db *database.DB) (*eventlog.Log, error) {
	views := view.New(db)
	log, err := eventlog.Open(ctx, db, views.Apply, time.Now, eventlog.Knows(event.Level), eventlog.Folds(views.Fold))
	if err != nil {
		return nil, err
	}
	return log, views.Open(ctx)
}
