// Package core is what every room of the service holds: the database and the
// event log, the routing table, the clock, and the few helpers that more than
// one room needs. A room holds a *Core and never another room.
package core

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Core is shared by the rooms. All methods may be called concurrently.
type Core struct {
	// Placer answers where bytes go and where they are.
	Placer placement.Placer
	// Now is the clock.
	Now func() time.Time
	// Logger gets what no caller sees.
	Logger *slog.Logger

	// db and log are reached by methods only, so that no error of theirs
	// leaves without mapError.
	db  *database.DB
	log *eventlog.Log

	faults struct {
		sync.Mutex
		text string // of the last error of the database that was logged
		at   time.Time
	}
}

// faultInterval is how often the same error of the database is logged.
const faultInterval = 10 * time.Second

// New returns the core of a service on an open database and its log.
func New(db *database.DB, log *eventlog.Log, placer placement.Placer, now func() time.Time, logger *slog.Logger) *Core {
	return &Core{Placer: placer, Now: now, Logger: logger, db: db, log: log}
}

// FindBackend returns a declared backend by name or id. ErrNotFound.
func (c *Core) FindBackend(nameOrID string) (placement.Backend, error) {
	for _, b := range c.Placer.Backends() {
		if b.Name == nameOrID || b.ID == nameOrID && b.ID != "" {
			return b, nil
		}
	}
	return placement.Backend{}, fmt.Errorf("backend %.100q: %w", nameOrID, registry.ErrNotFound)
}

// NameOf returns the name under which a recorded backend is declared today, ""
// if it is not.
func (c *Core) NameOf(backendID string) string {
	b, err := c.Placer.Open(backendID)
	if err != nil {
		return ""
	}
	return b.Name
}

// CheckMarker fails unless the place is still this backend's. The error is that
// of registrar.CheckMarker.
func (c *Core) CheckMarker(ctx context.Context, b placement.Backend) error {
	marked, ok := b.Store.(storage.Marked)
	if !ok {
		return nil
	}
	return registrar.CheckMarker(ctx, marked, registrar.Owner{LogID: c.LogID(), BackendID: b.ID, Name: b.Name, Place: b.Place})
}

// Unavailable is the error for a declared backend that is not open here.
func Unavailable(b placement.Backend) error {
	return &registry.UnavailableError{Backend: b.Name, Reason: b.Reason, Message: cmp.Or(b.Message, "it is not open in this process")}
}
