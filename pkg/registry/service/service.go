// Package service is the registry on a database: it composes the rooms that
// take packages in (ingest), name them (tagging), answer questions (reading) and keep the
// places (custody). It is the only orchestrator; a room knows no other room.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/headmark"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/service/custody"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest"
	"github.com/coulomb/artifact-store/pkg/registry/service/reading"
	"github.com/coulomb/artifact-store/pkg/registry/service/tagging"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// Options of a Service.
type Options struct {
	// Database holds log, views and scratch. The Service does not close it.
	Database *database.DB
	// Placer answers where bytes go.
	Placer placement.Placer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger gets what no caller sees; nil is slog.Default().
	Logger *slog.Logger
	// HeadHeld is told how long each append held the lock of the log's head; nil is nobody.
	HeadHeld func(time.Duration)
	// UploadLifetime is how long a session stays open after its last
	// declaration; 0 is the constant registry.UploadLifetime.
	UploadLifetime time.Duration
	// OrphanAge is how old orphans must be to be swept; 0 is the constant
	// registry.OrphanAge. Only tests have reason to lower it.
	OrphanAge time.Duration
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.HeadHeld == nil {
		o.HeadHeld = func(time.Duration) {}
	}
	if o.UploadLifetime == 0 {
		o.UploadLifetime = registry.UploadLifetime
	}
	if o.OrphanAge == 0 {
		o.OrphanAge = registry.OrphanAge
	}
}

// Service is the registry. Several processes may run one each on one database.
type Service struct {
	*ingest.Intake
	*custody.Keeper
	*reading.Reader
	*tagging.Tagger

	core    *core.Core
	log     *eventlog.Log
	stop    context.CancelFunc
	janitor sync.WaitGroup
}

var (
	_ registry.Registry   = (*Service)(nil)
	_ registrar.Registrar = (*Service)(nil)
)

// Open brings the tables up to date and starts the Service. Close ends it.
func Open(ctx context.Context, o Options) (*Service, error) {
	o.setDefaults()
	views := view.New(o.Database)
	log, err := eventlog.Open(ctx, o.Database, views.Apply, o.Now, eventlog.Knows(event.Level), eventlog.Folds(views.Fold), eventlog.Held(o.HeadHeld))
	if err != nil {
		return nil, fmt.Errorf("opening the event log: %w", err)
	}
	if err := errors.Join(views.Open(ctx), upload.Migrate(ctx, o.Database), custody.Migrate(ctx, o.Database), headmark.Migrate(ctx, o.Database), doubt.Migrate(ctx, o.Database)); err != nil {
		return nil, fmt.Errorf("preparing the registry's tables: %w", errors.Join(err, log.Close()))
	}
	c := core.New(o.Database, log, o.Placer, o.Now, o.Logger)
	s := &Service{
		Intake: ingest.New(c, o.UploadLifetime), Keeper: custody.New(c, o.OrphanAge), Reader: reading.New(c), Tagger: tagging.New(c),
		core: c, log: log,
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.janitor.Go(func() { s.Intake.Janitor(ctx) })
	s.janitor.Go(func() { s.Keeper.Janitor(ctx) })
	s.janitor.Go(func() { upgradeViews(ctx, views, o.Logger) })
	return s, nil
}

// CheckFence looks whether this replica must be upgraded, and answers
// everything with registry.ErrFenced from then on. registry.ErrDatabase.
func (s *Service) CheckFence(ctx context.Context) error { return s.core.CheckFence(ctx) }

// CheckWrites reports whether the database takes writes. registry.ErrDatabase.
func (s *Service) CheckWrites(ctx context.Context) error { return s.core.CheckWrites(ctx) }

// Close waits for appends under way and ends the Service.
func (s *Service) Close() error {
	s.stop()
	s.janitor.Wait()
	return s.log.Close()
}
