package inprocess

import (
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// openViews opens a log with the views, as the service does. base/views_test.go.txt is
// this file for the commit that is compared with.
func openViews(b *testing.B, db *database.DB) *eventlog.Log {
	b.Helper()
	views := view.New(db)
	log, err := eventlog.Open(b.Context(), db, views.Apply, time.Now, eventlog.Knows(event.Level), eventlog.Folds(views.Fold))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { log.Close() })
	if err := views.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	return log
}
