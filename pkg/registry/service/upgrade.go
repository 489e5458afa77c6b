package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// upgradeDelay leaves time to replicas of the previous version: they do not hold
// the lock of reads, and are replaced while this one starts.
const upgradeDelay = 2 * time.Minute

// upgradeRetry is how long a rebuild that failed waits for the next attempt.
const upgradeRetry = time.Minute

// upgradeViews rebuilds tables that an older version of the program made. One
// replica does it, while all of them serve from the old tables.
func upgradeViews(ctx context.Context, views *view.Views, logger *slog.Logger) {
	progress := view.Progress{
		Waiting: func(holder string) {
			logger.Info("the views are of an earlier version, and are being rebuilt or checked by another process", "holder", holder)
		},
		Busy: func(err error) { logger.Info("the rebuilt views wait for long reads to end", "error", err) },
	}
	if !backoff.Sleep(ctx, upgradeDelay) {
		return
	}
	for {
		began := time.Now()
		report, err := views.Upgrade(ctx, progress)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if report.LogID != "" {
				logger.Info("the views were rebuilt for this version", "events", report.Events, "took", time.Since(began))
			}
			return
		}
		logger.Warn("rebuilding the views for this version; the old ones stay in use", "error", err)
		if !backoff.Sleep(ctx, upgradeRetry) {
			return
		}
	}
}
