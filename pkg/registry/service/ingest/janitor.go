package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
)

const (
	// janitorInterval is long: an expired session harms nothing.
	janitorInterval = 5 * time.Minute
	// expiredKept is how long an expired session is reported as expired, and not
	// as not found.
	expiredKept = 24 * time.Hour
	// sessionsPerSweep bounds one transaction.
	sessionsPerSweep = 20
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
		if err := in.deleteExpired(ctx); err != nil && ctx.Err() == nil {
			in.core.Logger.Warn("removing expired upload sessions", "error", err)
		}
	}
}

func (in *Intake) deleteExpired(ctx context.Context) error {
	for {
		n := 0
		err := in.core.Write(ctx, func(tx database.Tx) error {
			ids, err := upload.ListExpired(ctx, tx, in.core.Now().Add(-expiredKept), sessionsPerSweep)
			n = len(ids)
			for _, id := range ids {
				err = errors.Join(err, upload.Delete(ctx, tx, id))
			}
			return err
		})
		if err != nil || n < sessionsPerSweep {
			return err
		}
	}
}
