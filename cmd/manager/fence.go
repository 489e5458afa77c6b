package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// fenceInterval is how often a replica looks whether a newer one has written
// what it does not know. Whoever appends learns of it at once.
const fenceInterval = 5 * time.Second

// standDown calls stop once this replica is fenced: one that must be upgraded
// must not lead and write status either. It returns when ctx ends or after that.
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
