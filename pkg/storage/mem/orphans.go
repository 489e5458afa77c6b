package mem

import (
	"context"
	"iter"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

var _ storage.Cleaner = (*Backend)(nil)

// Now implements storage.Cleaner.
func (b *Backend) Now(ctx context.Context) (time.Time, error) { return time.Now(), b.Health(ctx) }

// Orphans implements storage.Cleaner: memory does not survive a crash.
func (b *Backend) Orphans(ctx context.Context) iter.Seq2[storage.Orphan, error] {
	return func(yield func(storage.Orphan, error) bool) {
		if err := b.Health(ctx); err != nil {
			yield(storage.Orphan{}, err)
		}
	}
}

// RemoveOrphan implements storage.Cleaner.
func (b *Backend) RemoveOrphan(ctx context.Context, _ storage.Orphan) error { return b.Health(ctx) }
