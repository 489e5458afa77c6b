package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// sweepPage is how many blobs are compared with the log in one look.
	sweepPage = 500
	// maxSweptOrphans bounds a report.
	maxSweptOrphans = 1000
	// maxSweepFailures ends a run: see maxUnreachable.
	maxSweepFailures = 20
	// sweptRowsKept is how long a row of sweeping outlives its sweep at least:
	// far longer than it takes from when a Put has made its object visible to
	// when the session has it in its rows.
	sweptRowsKept = 24 * time.Hour
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
func (s *Service) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (registry.SweepReport, error) {
	backend, err := s.findBackend(nameOrID)
	if err != nil {
		return registry.SweepReport{}, err
	}
	run := &sweep{service: s, backend: backend, dryRun: dryRun, progress: progress,
		report: registry.SweepReport{Backend: backend.Name, BackendID: backend.ID, DryRun: dryRun, MinAgeSeconds: int64(s.age.Seconds())}}
	for _, kind := range []string{kindBlob, string(storage.OrphanStaged), string(storage.OrphanProbe), string(storage.OrphanUpload)} {
		run.report.Kinds = append(run.report.Kinds, registry.SweepCounts{Kind: kind})
	}
	if backend.Store == nil || backend.ID == "" {
		return run.report, unavailable(backend)
	}
	var can bool
	if run.store, can = backend.Store.(sweepable); !can {
		return run.report, &registry.UnavailableError{Backend: backend.Name, Message: "its driver cannot show what was left behind"}
	}
	if backend.ReadOnly { // for a dry run too: to ask the place's clock is to write
		return run.report, &registry.ConflictError{Field: "backend", Message: backend.Name + " is read-only by declaration: nothing is written to it, as also a dry run must to find out the storage's time"}
	}
	if _, running := s.sweeping.LoadOrStore(backend.ID, struct{}{}); running {
		return run.report, &registry.ConflictError{Field: "backend", Message: "a sweep of " + backend.Name + " is running"}
	}
	defer s.sweeping.Delete(backend.ID)
	err = run.all(ctx)
	if run.untold > 0 {
		s.logger.WarnContext(ctx, "sweeping: the storage does not tell since when orphans are there, so they stay", "backend", backend.Name, "orphans", run.untold)
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
	service  *Service
	backend  placement.Backend
	store    sweepable
	dryRun   bool
	progress func(registry.SweepReport)
	report   registry.SweepReport
	orphans  []registry.SweptOrphan
	before   time.Time // what the place wrote before this is old enough
	untold   int64     // orphans whose time the place does not tell
}

// isYoung reports whether something may be of an upload that is under way. What
// has no time may be, too.
func (w *sweep) isYoung(modified time.Time) bool {
	return isUntold(modified) || !modified.Before(w.before)
}

// isUntold: some servers say 1970 where they do not know.
func isUntold(modified time.Time) bool { return modified.Unix() <= 0 }

func (w *sweep) tell() {
	if w.progress != nil {
		shown := w.report
		shown.Kinds = slices.Clone(shown.Kinds)
		w.progress(shown)
	}
}

func (w *sweep) all(ctx context.Context) error {
	// First of all: is it ours? Asked again before each batch that is removed.
	if err := w.service.checkMarker(ctx, w.backend); err != nil {
		return err
	}
	now, err := w.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("finding out the time of %s: %w", w.backend.Name, err)
	}
	// Both clocks must agree that something is old. The place's decides, since
	// it stamps the objects; ours is a guard against one that leaps ahead.
	if ours := w.service.now(); ours.Before(now) {
		now = ours
	}
	w.before = now.Add(-w.service.age)
	if !w.dryRun {
		if err := w.service.write(ctx, func(tx database.Tx) error {
			return upload.ForgetOldSweeping(ctx, tx, w.backend.ID, w.service.now().Add(-sweptRowsKept))
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

// blobs looks at every blob in the place. Each page is listed first and
// compared with the log after, so that what is published meanwhile is known.
func (w *sweep) blobs(ctx context.Context) error {
	page := make([]storage.Info, 0, sweepPage)
	for info, err := range w.store.List(ctx) {
		if err != nil {
			return err
		}
		if page = append(page, info); len(page) == sweepPage {
			if err := w.page(ctx, page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	return w.page(ctx, page)
}

func (w *sweep) page(ctx context.Context, page []storage.Info) error {
	names := make([]digest.Digest, len(page))
	for i, info := range page {
		names[i] = info.Digests.SHA256
	}
	var located, claimed map[digest.Digest]bool
	if err := w.service.read(ctx, func(tx database.Tx) (err error) {
		if located, err = view.FindLocated(ctx, tx, w.backend.ID, names); err != nil {
			return err
		}
		unknown := slices.DeleteFunc(names, func(sha digest.Digest) bool { return located[sha] })
		claimed, err = upload.FindClaimed(ctx, tx, w.backend.ID, unknown)
		return err
	}); err != nil {
		return err
	}
	var due []storage.Info
	for _, info := range page {
		sha := info.Digests.SHA256
		switch {
		case located[sha]:
			w.report.Known++
		case claimed[sha]:
			w.found(blobOrphan(info), outcomeClaimed)
		case w.isYoung(info.Modified):
			w.found(blobOrphan(info), outcomeTooYoung)
		case w.dryRun:
			w.found(blobOrphan(info), outcomeDue)
		default:
			due = append(due, info)
		}
	}
	defer w.tell()
	for batch := range slices.Chunk(due, sweepBatch) {
		if err := w.remove(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func blobOrphan(info storage.Info) storage.Orphan {
	return storage.Orphan{Kind: kindBlob, Key: storage.Key(info.Digests.SHA256), Size: info.Size, Modified: info.Modified}
}

// leftovers looks at what is no blob. Staged objects and uploads belong to one
// Put each, which lasts MaxPutTime at most; an upload to a blob's own key also
// has what claims the blob.
func (w *sweep) leftovers(ctx context.Context) error {
	removed := 0
	for orphan, err := range w.store.Orphans(ctx) {
		if err != nil {
			return err
		}
		claimed, err := w.isClaimed(ctx, orphan)
		if err != nil {
			return err
		}
		switch {
		case claimed:
			w.found(orphan, outcomeClaimed)
		case w.isYoung(orphan.Modified):
			w.found(orphan, outcomeTooYoung)
		case w.dryRun:
			w.found(orphan, outcomeDue)
		default:
			if removed%sweepBatch == 0 {
				if err := w.service.checkMarker(ctx, w.backend); err != nil {
					return err
				}
			}
			removed++
			if err := w.ended(ctx, orphan, w.store.RemoveOrphan(ctx, orphan)); err != nil {
				return err
			}
		}
		w.tell()
	}
	return nil
}

func (w *sweep) isClaimed(ctx context.Context, orphan storage.Orphan) (bool, error) {
	sha, isBlob := storage.ParseKey(orphan.Key)
	if orphan.Kind != storage.OrphanUpload || !isBlob {
		return false, nil
	}
	var claimed map[digest.Digest]bool
	err := w.service.read(ctx, func(tx database.Tx) (err error) {
		claimed, err = upload.FindClaimed(ctx, tx, w.backend.ID, []digest.Digest{sha})
		return err
	})
	return claimed[sha], err
}

// ended counts what became of an attempt to remove. Its error ends the run.
func (w *sweep) ended(ctx context.Context, orphan storage.Orphan, err error) error {
	if err == nil {
		w.found(orphan, outcomeRemoved)
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.service.logger.WarnContext(ctx, "sweeping", "backend", w.backend.Name, "kind", string(orphan.Kind), "key", orphan.Key, "error", err)
	w.found(orphan, outcomeFailed)
	var failed int64
	for _, counts := range w.report.Kinds {
		failed += counts.Failed
	}
	if failed >= maxSweepFailures {
		return fmt.Errorf("%d orphans could not be removed, the last because: %w", failed, err)
	}
	return nil
}

// found counts an orphan.
func (w *sweep) found(orphan storage.Orphan, outcome string) {
	i := slices.IndexFunc(w.report.Kinds, func(c registry.SweepCounts) bool { return c.Kind == string(orphan.Kind) })
	if i < 0 {
		return // a kind that a newer driver has, and nobody removes
	}
	counts := &w.report.Kinds[i]
	counts.Found++
	counts.FoundBytes += orphan.Size
	switch outcome {
	case outcomeTooYoung:
		counts.TooYoung++
	case outcomeClaimed:
		counts.Claimed++
	default:
		counts.Due++
		counts.DueBytes += orphan.Size
	}
	switch outcome {
	case outcomeRemoved:
		counts.Removed++
		counts.RemovedBytes += orphan.Size
	case outcomeFailed:
		counts.Failed++
	}
	modified := orphan.Modified
	if isUntold(modified) {
		w.untold++
		modified = time.Time{}
	}
	if len(w.orphans) < maxSweptOrphans {
		w.orphans = append(w.orphans, registry.SweptOrphan{Kind: string(orphan.Kind), Key: orphan.Key, Size: orphan.Size, Modified: modified, Outcome: outcome})
	}
}
