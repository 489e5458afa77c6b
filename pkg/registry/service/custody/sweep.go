package custody

import (
	"cmp"
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
	// maxSweepFailures ends a run: a backend that refuses deletions is not asked a
	// million times. Some orphans that cannot be removed must not keep it from the rest;
	// whether the place answers is checked before each batch.
	maxSweepFailures = 1000
)

// kindBlob is a blob that the log does not name. The other kinds are those of package storage.
const kindBlob = "blob"

// Outcomes of an orphan in a report.
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
		return run.report, &registry.UnavailableError{Backend: backend.Name, Message: "its driver cannot list orphans"}
	}
	if backend.ReadOnly { // for a dry run too: to ask the place's clock is to write
		return run.report, &registry.ConflictError{Field: "backend", Message: backend.Name + " is declared read-only, and a sweep writes an object to learn the storage's time, also in a dry run"}
	}
	if _, running := k.sweeping.LoadOrStore(backend.ID, struct{}{}); running {
		return run.report, &registry.ConflictError{Field: "backend", Message: "a sweep of " + backend.Name + " is running"}
	}
	defer k.sweeping.Delete(backend.ID)
	err = run.all(ctx)
	if run.untold > 0 {
		k.core.Logger.WarnContext(ctx, "sweeping: orphans stay because the storage does not give their time", "backend", backend.Name, "orphans", run.untold)
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
	before   time.Time // objects that the place wrote before this are old enough
	untold   int64     // orphans whose time the place does not give

	unlisted      int // parts of the place
	firstUnlisted error
}

// Same implements removal.Policy. It is asked before each batch that is removed.
func (w *sweep) Same(ctx context.Context) error {
	return w.keeper.mayRemove(ctx, w.backend, w.store, w.dryRun)
}

// IsYoung reports whether an object may belong to an upload that is under way. An
// object without a time may.
func (w *sweep) IsYoung(modified time.Time) bool {
	return isUntold(modified) || !modified.Before(w.before)
}

// isUntold: some servers say 1970 if they do not know.
func isUntold(modified time.Time) bool { return modified.Unix() <= 0 }

func (w *sweep) all(ctx context.Context) error {
	// First: is it ours? Checked again before each batch that is removed.
	if err := w.Same(ctx); err != nil {
		return err
	}
	now, err := w.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("asking %s for its time: %w", w.backend.Name, err)
	}
	// Both clocks must agree that an object is old. The place's decides, since it
	// stamps the objects; ours is a guard against one that leaps ahead.
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
	if err := w.leftovers(ctx); err != nil {
		return err
	}
	if w.unlisted > 1 {
		return fmt.Errorf("%d parts of %s could not be listed, the first: %w", w.unlisted, w.backend.Name, w.firstUnlisted)
	}
	return w.firstUnlisted
}

// skip keeps what could not be listed for the end: a folder that cannot be read must
// not keep the run from the others.
func (w *sweep) skip(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.unlisted++
	w.firstUnlisted = cmp.Or(w.firstUnlisted, err)
	return nil
}
