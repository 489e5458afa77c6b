package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// fenceInterval is how often a replica checks whether a newer one has written events
// that it does not know. A replica that appends finds out immediately.
const fenceInterval = 5 * time.Second

// standDown calls stop once this replica is fenced, because a replica that must be
// upgraded must not lead or write status either. It returns then, or when ctx ends.
func standDown(ctx context.Context, check func(context.Context) error, logger *slog.Logger, stop func()) {
	ticker := time.NewTicker(fenceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := check(ctx); errors.Is(err, registry.ErrFenced) {
			logger.Error("this replica serves nothing until it is upgraded", "error", err)
			stop()
			return
		}
	}
}
