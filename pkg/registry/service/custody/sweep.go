package custody

import (
	"context"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/removal"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// sweepPage is how many blobs are compared with the log in one look.
	sweepPage = 500
	// maxSweptOrphans bounds a report.
	maxSweptOrphans = 1000
	// maxSweepFailures ends a run: see maxUnreachable.
	maxSweepFailures = 20
)

// kindBlob is beside the kinds of package storage: a blob that the log does not name.
const kindBlob = "blob"

// Outcomes of an orphan.
const (
	outcomeDue      = "due"
	outcomeRemoved  = "removed"
	outcomeTooYoung = "tooYoung"
	outcomeClaimed  = "claimed"
	outcomeFailed   = "failed"
)

// sweepable is what a backend must be for a sweep.
type sweepable interface {
	storage.Store
	storage.Marked
	storage.Cleaner
}

// SweepBackend implements Sweeps.
func (k *Keeper) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (registry.SweepReport, error) {
	backend, err := k.core.FindBackend(nameOrID)
	if err != nil {
		return registry.SweepReport{}, err
	}
	run := &sweep{keeper: k, backend: backend, dryRun: dryRun, progress: progress,
		report: registry.SweepReport{Backend: backend.Name, BackendID: backend.ID, DryRun: dryRun, MinAgeSeconds: int64(k.age.Seconds())}}
	for _, kind := range []string{kindBlob, string(storage.OrphanStaged), string(storage.OrphanProbe), string(storage.OrphanUpload)} {
		run.report.Kinds = append(run.report.Kinds, registry.SweepCounts{Kind: kind})
	}
	if backend.Store == nil || backend.ID == "" {
		return run.report, core.Unavailable(backend)
	}
	var can bool
	if run.store, can = backend.Store.(sweepable); !can {
		return run.report, &registry.UnavailableError{Backend: backend.Name, Message: "its driver cannot show what was left behind"}
	}
	if backend.ReadOnly { // for a dry run too: to ask the place's clock is to write
		return run.report, &registry.ConflictError{Field: "backend", Message: backend.Name + " is read-only by declaration: nothing is written to it, as also a dry run must to find out the storage's time"}
	}
	if _, running := k.sweeping.LoadOrStore(backend.ID, struct{}{}); running {
		return run.report, &registry.ConflictError{Field: "backend", Message: "a sweep of " + backend.Name + " is running"}
	}
	defer k.sweeping.Delete(backend.ID)
	err = run.all(ctx)
	if run.untold > 0 {
		k.core.Logger.WarnContext(ctx, "sweeping: the storage does not tell since when orphans are there, so they stay", "backend", backend.Name, "orphans", run.untold)
	}
	if err != nil {
		run.report.Error = err.Error()
	} else {
		run.report.Done = true
	}
	run.report.Orphans = run.orphans
	run.tell()
	return run.report, err
}

// sweep is one run. For one goroutine.
type sweep struct {
	keeper   *Keeper
	backend  placement.Backend
	store    sweepable
	dryRun   bool
	progress func(registry.SweepReport)
	report   registry.SweepReport
	orphans  []registry.SweptOrphan
	before   time.Time // what the place wrote before this is old enough
	untold   int64     // orphans whose time the place does not tell
}

// Same implements removal.Policy. It is asked before each batch that is removed.
func (w *sweep) Same(ctx context.Context) error {
	return w.keeper.mayRemove(ctx, w.backend, w.store, w.dryRun)
}

// IsYoung reports whether something may be of an upload that is under way. What
// has no time may be, too.
func (w *sweep) IsYoung(modified time.Time) bool {
	return isUntold(modified) || !modified.Before(w.before)
}

// isUntold: some servers say 1970 where they do not know.
func isUntold(modified time.Time) bool { return modified.Unix() <= 0 }

func (w *sweep) all(ctx context.Context) error {
	// First of all: is it ours? Asked again before each batch that is removed.
	if err := w.Same(ctx); err != nil {
		return err
	}
	now, err := w.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("finding out the time of %s: %w", w.backend.Name, err)
	}
	// Both clocks must agree that something is old. The place's decides, since
	// it stamps the objects; ours is a guard against one that leaps ahead.
	if ours := w.keeper.core.Now(); ours.Before(now) {
		now = ours
	}
	w.before = now.Add(-w.keeper.age)
	if !w.dryRun {
		if err := w.keeper.core.Write(ctx, func(tx database.Tx) error {
			return removal.ForgetOld(ctx, tx, w.backend.ID, w.keeper.core.Now())
		}); err != nil {
			return err
		}
	}
	w.tell()
	if err := w.blobs(ctx); err != nil {
		return err
	}
	return w.leftovers(ctx)
}
