package custody

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/removal"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// leftovers looks at what is not a blob. Staged objects and uploads belong to one
// Put each, which takes MaxPutTime at most; an upload to a blob's own key also
// has the claims of the blob.
func (w *sweep) leftovers(ctx context.Context) error {
	removed := 0
	for orphan, err := range w.store.Orphans(ctx) {
		if err != nil {
			if err := w.skip(ctx, err); err != nil {
				return err
			}
			continue
		}
		claimed, err := w.isClaimed(ctx, orphan)
		if err != nil {
			return err
		}
		switch {
		case claimed:
			w.found(orphan, outcomeClaimed)
		case w.IsYoung(orphan.Modified):
			w.found(orphan, outcomeTooYoung)
		case w.dryRun:
			w.found(orphan, outcomeDue)
		default:
			if removed%removal.MaxBatch == 0 {
				if err := w.Same(ctx); err != nil {
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
	err := w.keeper.core.Read(ctx, func(tx database.Tx) (err error) {
		claimed, err = upload.FindClaimed(ctx, tx, w.backend.ID, []digest.Digest{sha})
		return err
	})
	return claimed[sha], err
}
