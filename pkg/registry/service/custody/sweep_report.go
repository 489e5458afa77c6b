package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func (w *sweep) tell() {
	if w.progress != nil {
		shown := w.report
		shown.Kinds = slices.Clone(shown.Kinds)
		w.progress(shown)
	}
}

// ended counts the outcome of an attempt to remove. Its error ends the run.
func (w *sweep) ended(ctx context.Context, orphan storage.Orphan, err error) error {
	if err == nil {
		w.found(orphan, outcomeRemoved)
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.keeper.core.Logger.WarnContext(ctx, "sweeping", "backend", w.backend.Name, "kind", string(orphan.Kind), "key", orphan.Key, "error", err)
	w.found(orphan, outcomeFailed)
	var failed int64
	for _, counts := range w.report.Kinds {
		failed += counts.Failed
	}
	if errors.Is(err, storage.ErrDenied) && storage.ReasonOf(err) == storage.ReasonAccessDenied {
		return fmt.Errorf("%s does not allow deleting, so a sweep can only tell what it would remove (dry run): %w", w.backend.Name, err)
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
		return // a kind of a newer driver, which nothing removes
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
