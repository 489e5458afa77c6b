package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

var _ storage.Cleaner = (*Backend)(nil)

// Now implements storage.Cleaner by the time of a new file: on a network file
// system that is the server's clock. If the place has no room for one, it is the
// time at which a file was last created or removed in staging: earlier than now, so
// that objects seem younger than they are and none is removed too soon.
func (b *Backend) Now(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	now, err := b.timeOfNew()
	if !errors.Is(err, storage.ErrFull) {
		return now, err
	}
	staging, err := b.stagingFolder()
	if err != nil {
		return time.Time{}, err
	}
	info, err := staging.Stat(".")
	if err != nil {
		return time.Time{}, placeError("stat the staging folder in", b.config.Path, err)
	}
	return info.ModTime(), nil
}

func (b *Backend) timeOfNew() (time.Time, error) {
	staged, err := b.stage()
	if err != nil {
		return time.Time{}, err
	}
	defer staged.discard()
	if err := staged.write([]byte{0}, b); err != nil {
		return time.Time{}, err
	}
	info, err := staged.file.Stat()
	if err != nil {
		return time.Time{}, placeError("stat a file in staging in", b.config.Path, err)
	}
	return info.ModTime(), nil
}

// Orphans implements storage.Cleaner. There are no uploads: a large blob is one file
// in staging, whose time is that of its last write.
func (b *Backend) Orphans(ctx context.Context) iter.Seq2[storage.Orphan, error] {
	return func(yield func(storage.Orphan, error) bool) {
		if b.orphansBelow(ctx, storage.OrphanStaged, storage.StagingPrefix, yield) {
			b.orphansBelow(ctx, storage.OrphanProbe, storage.ProbePrefix, yield)
		}
	}
}

// orphansBelow yields regular files and reports whether to continue.
func (b *Backend) orphansBelow(ctx context.Context, kind storage.OrphanKind, below string, yield func(storage.Orphan, error) bool) bool {
	stopped := false
	one := func(orphan storage.Orphan, err error) error {
		stopped = !yield(orphan, err)
		return told(!stopped)
	}
	err := fs.WalkDir(b.root.FS(), below, func(key string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it never existed, or was removed meanwhile
		}
		if err != nil {
			return one(storage.Orphan{}, placeError("list "+key+" in", b.config.Place(), err))
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		stat, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return one(storage.Orphan{}, placeError("stat "+key+" in", b.config.Place(), err))
		}
		return one(storage.Orphan{Kind: kind, Key: key, Size: stat.Size(), Modified: stat.ModTime()}, nil)
	})
	if err != nil {
		yield(storage.Orphan{}, err)
	}
	return err == nil && !stopped
}

// RemoveOrphan implements storage.Cleaner. Folders stay.
func (b *Backend) RemoveOrphan(ctx context.Context, orphan storage.Orphan) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !orphan.RemovableKey() {
		return fmt.Errorf("%s is not an orphan of kind %s", orphan.Key, orphan.Kind)
	}
	err := b.root.Remove(orphan.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return placeError("delete "+orphan.Key+" in", b.config.Place(), err)
}
