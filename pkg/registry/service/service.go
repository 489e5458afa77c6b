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
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
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
	// UploadLifetime is how long a session stays open after its last
	// declaration; 0 is the constant UploadLifetime.
	UploadLifetime time.Duration
	// OrphanAge is how old orphans must be to be swept; 0 is the constant
	// OrphanAge. Only tests have reason to lower it.
	OrphanAge time.Duration
}

// Service is the registry. Several processes may run one each on one database.
type Service struct {
	db       *database.DB
	log      *eventlog.Log
	placer   placement.Placer
	now      func() time.Time
	logger   *slog.Logger
	lifetime time.Duration
	age      time.Duration // of orphans
	putTime  time.Duration // of one blob
	// sweptPatience is how long a publish waits for a sweep in all.
	sweptPatience time.Duration

	windows   windows  // memory for bundles
	verifying sync.Map // backend id -> struct{}, of runs in this process
	sweeping  sync.Map // likewise
	counted   sync.Map // backend id -> counted
	stop      context.CancelFunc
	janitor   sync.WaitGroup
}

var (
	_ registry.Registry   = (*Service)(nil)
	_ registrar.Registrar = (*Service)(nil)
)

// Open brings the tables up to date and starts the Service. Close ends it.
func Open(ctx context.Context, o Options) (*Service, error) {
	s := &Service{db: o.Database, placer: o.Placer, now: o.Now, logger: o.Logger, lifetime: o.UploadLifetime, age: o.OrphanAge,
		putTime: registry.MaxPutTime, sweptPatience: sweptPatience, windows: newWindows()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if s.lifetime == 0 {
		s.lifetime = registry.UploadLifetime
	}
	if s.age == 0 {
		s.age = registry.OrphanAge
	}
	if err := errors.Join(view.Migrate(ctx, s.db), upload.Migrate(ctx, s.db)); err != nil {
		return nil, fmt.Errorf("preparing the registry's tables: %w", err)
	}
	var err error
	if s.log, err = eventlog.Open(ctx, s.db, view.Apply, s.now, eventlog.Knows(event.Level)); err != nil {
		return nil, fmt.Errorf("opening the event log: %w", err)
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.janitor.Go(func() { s.sweepSessions(ctx) })
	return s, nil
}

// Close waits for appends under way and ends the Service.
func (s *Service) Close() error {
	s.stop()
	s.janitor.Wait()
	return s.log.Close()
}

const (
	// janitorInterval: expired sessions are only scratch, so nothing hurries.
	janitorInterval = 5 * time.Minute
	// expiredKept is how long an expired session still answers "expired"
	// rather than "not found".
	expiredKept = 24 * time.Hour
	// sessionsPerSweep bounds one transaction.
	sessionsPerSweep = 20
)

// sweepSessions removes sessions whose time is long over.
func (s *Service) sweepSessions(ctx context.Context) {
	ticker := time.NewTicker(janitorInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.deleteExpired(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("removing expired upload sessions", "error", err)
		}
	}
}

func (s *Service) deleteExpired(ctx context.Context) error {
	for {
		n := 0
		err := s.write(ctx, func(tx database.Tx) error {
			ids, err := upload.ListExpired(ctx, tx, s.now().Add(-expiredKept), sessionsPerSweep)
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

// operator is the actor of what declarations bring about.
const operator = "operator"
