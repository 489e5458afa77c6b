package custody

import (
	"context"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/removal"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// blobs looks at every blob in the place. Each page is listed first and compared
// with the log afterwards, so that what is published meanwhile is known.
func (w *sweep) blobs(ctx context.Context) error {
	page := make([]storage.Info, 0, sweepPage)
	for info, err := range w.store.List(ctx) {
		if err != nil {
			if err := w.skip(ctx, err); err != nil {
				return err
			}
			continue
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
	names := namesOf(page)
	var located, claimed map[digest.Digest]bool
	if err := w.keeper.core.Read(ctx, func(tx database.Tx) (err error) {
		if located, err = w.Kept(ctx, tx, names); err != nil {
			return err
		}
		unknown := slices.DeleteFunc(names, func(sha digest.Digest) bool { return located[sha] })
		claimed, err = w.Claimed(ctx, tx, unknown)
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
		case w.IsYoung(info.Modified):
			w.found(blobOrphan(info), outcomeTooYoung)
		case w.dryRun:
			w.found(blobOrphan(info), outcomeDue)
		default:
			due = append(due, info)
		}
	}
	defer w.tell()
	for batch := range slices.Chunk(due, removal.MaxBatch) {
		if err := w.remove(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func blobOrphan(info storage.Info) storage.Orphan {
	return storage.Orphan{Kind: kindBlob, Key: storage.Key(info.Digests.SHA256), Size: info.Size, Modified: info.Modified}
}

// remove removes a batch of blobs that nothing seems to name.
func (w *sweep) remove(ctx context.Context, batch []storage.Info) error {
	remover := removal.Remover{Ledger: w.keeper.core, Now: w.keeper.core.Now, BackendID: w.backend.ID, Place: w.store, Policy: w}
	results, err := remover.Remove(ctx, namesOf(batch))
	if err != nil {
		return err
	}
	for _, info := range batch {
		switch result := results[info.Digests.SHA256]; result.Outcome {
		case removal.Claimed:
			w.found(blobOrphan(info), outcomeClaimed)
		case removal.Young:
			w.found(blobOrphan(info), outcomeTooYoung)
		default:
			if err := w.ended(ctx, blobOrphan(info), result.Err); err != nil {
				return err
			}
		}
	}
	return nil
}

// Kept implements removal.Policy: a sweep keeps what the log names.
func (w *sweep) Kept(ctx context.Context, tx database.Tx, blobs []digest.Digest) (map[digest.Digest]bool, error) {
	return view.FindLocated(ctx, tx, w.backend.ID, blobs)
}

// Claimed implements removal.Policy.
func (w *sweep) Claimed(ctx context.Context, tx database.Tx, blobs []digest.Digest) (map[digest.Digest]bool, error) {
	return upload.FindClaimed(ctx, tx, w.backend.ID, blobs)
}

func namesOf(blobs []storage.Info) []digest.Digest {
	names := make([]digest.Digest, len(blobs))
	for i, info := range blobs {
		names[i] = info.Digests.SHA256
	}
	return names
}
