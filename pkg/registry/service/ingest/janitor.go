package ingest

import (
	"context"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
)

const (
	// janitorInterval is long: an expired session harms nothing.
	janitorInterval = 5 * time.Minute
	// expiredKept is how long an expired session is reported as expired, and not
	// as not found.
	expiredKept = 24 * time.Hour
	// sessionsPerSweep are listed at a time.
	sessionsPerSweep = 20
	// rowsPerDelete bounds one transaction: on SQLite nothing else is written
	// while it lasts. A session of 100,000 files has 200,000 rows.
	rowsPerDelete = 4000
)

// Janitor removes sessions that expired long ago, until ctx ends.
func (in *Intake) Janitor(ctx context.Context) {
	ticker := time.NewTicker(janitorInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := in.RemoveExpired(ctx); err != nil && ctx.Err() == nil {
			in.core.Logger.Warn("removing expired upload sessions", "error", err)
		}
	}
}

// RemoveExpired removes the sessions that expired long ago.
func (in *Intake) RemoveExpired(ctx context.Context) error {
	for {
		var ids []string
		if err := in.core.Read(ctx, func(tx database.Tx) (err error) {
			ids, err = upload.ListExpired(ctx, tx, in.core.Now().Add(-expiredKept), sessionsPerSweep)
			return err
		}); err != nil {
			return err
		}
		for _, id := range ids {
			if err := in.deleteSession(ctx, id); err != nil {
				return err
			}
		}
		if len(ids) < sessionsPerSweep {
			return nil
		}
	}
}

// deleteSession removes a session that is over, some rows at a time. After each
// transaction it pauses for as long as that took, so that others get to write.
func (in *Intake) deleteSession(ctx context.Context, id string) error {
	for {
		removed, began := 0, time.Now()
		err := in.core.Write(ctx, func(tx database.Tx) (err error) {
			removed, err = upload.DeleteSome(ctx, tx, id, rowsPerDelete)
			return err
		})
		if err != nil || removed < rowsPerDelete {
			return err
		}
		if !backoff.Sleep(ctx, time.Since(began)) {
			return ctx.Err()
		}
	}
}
