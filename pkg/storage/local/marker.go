package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/coulomb/artifact-store/pkg/regular"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// ReadMarker implements storage.Marked.
func (b *Backend) ReadMarker(ctx context.Context) ([]byte, error) {
	return b.readSmall(ctx, storage.MarkerKey)
}

// ReadHeadMark implements storage.Marked.
func (b *Backend) ReadHeadMark(ctx context.Context) ([]byte, error) {
	return b.readSmall(ctx, storage.HeadMarkKey)
}

func (b *Backend) readSmall(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, _, err := regular.OpenIn(b.root.Root, key)
	if kind := (*regular.KindError)(nil); errors.As(err, &kind) {
		return nil, b.notAFile(nil, key, kind) // not ErrNotFound: no marker can be created there
	}
	if err != nil {
		return nil, b.readError("open", key, err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	content, err := io.ReadAll(io.LimitReader(file, storage.MaxMarkerSize))
	return content, placeError("read "+key+" in", b.config.Place(), err)
}

// CreateMarker implements storage.Marked. A hard link fails if the name exists, so the
// first writer wins; its file is complete and durable before it gets the name.
func (b *Backend) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if there, err := b.ReadMarker(ctx); !errors.Is(err, storage.ErrNotFound) {
		return there, err
	}
	staged, err := b.stageSmall(marker)
	if err != nil {
		return nil, err
	}
	defer staged.discard()
	err = b.place.Link(path.Join(storage.StagingPrefix, staged.name), b.inPlace(storage.MarkerKey))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, placeError("store "+storage.MarkerKey+" in", b.config.Place(), err)
	}
	if err := syncFolder(b.root.Root, storage.ReservedPrefix); err != nil {
		return nil, placeError("sync "+storage.MarkerKey+" in", b.config.Place(), err)
	}
	return b.ReadMarker(ctx)
}

// WriteHeadMark implements storage.Marked.
func (b *Backend) WriteHeadMark(ctx context.Context, mark []byte) (kept bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	staged, err := b.stageSmall(mark)
	if err != nil {
		return false, err
	}
	defer staged.discard()
	if err := b.move(staged, storage.HeadMarkKey); err != nil {
		return false, placeError("store "+storage.HeadMarkKey+" in", b.config.Place(), err)
	}
	if err := syncFolder(b.root.Root, storage.ReservedPrefix); err != nil {
		return false, placeError("sync "+storage.HeadMarkKey+" in", b.config.Place(), err)
	}
	return false, nil
}

// stageSmall writes a durable file in staging, which the caller discards.
func (b *Backend) stageSmall(content []byte) (*staged, error) {
	file, err := b.stage()
	if err != nil {
		return nil, err
	}
	if err := file.write(content, b); err != nil {
		file.discard()
		return nil, err
	}
	if err := synced(file.file); err != nil {
		file.discard()
		return nil, placeError("sync a file in staging in", b.config.Path, err)
	}
	return file, nil
}
