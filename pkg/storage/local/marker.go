package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// ReadMarker implements storage.Marked.
func (b *Backend) ReadMarker(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := b.root.Open(storage.MarkerKey)
	if err != nil {
		return nil, b.readError("open", storage.MarkerKey, err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	marker, err := io.ReadAll(io.LimitReader(file, storage.MaxMarkerSize))
	return marker, placeError("read "+storage.MarkerKey+" in", b.config.Place(), err)
}

// CreateMarker implements storage.Marked. A hard link fails if the name exists, so the
// first writer wins; its file is complete and durable before it gets the name.
func (b *Backend) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if there, err := b.ReadMarker(ctx); !errors.Is(err, storage.ErrNotFound) {
		return there, err
	}
	staged, err := b.stage()
	if err != nil {
		return nil, err
	}
	defer staged.discard()
	if err := staged.write(marker, b); err != nil {
		return nil, err
	}
	if err := staged.file.Sync(); err != nil {
		return nil, placeError("sync a file in staging in", b.config.Place(), err)
	}
	err = b.root.Link(path.Join(storage.StagingPrefix, staged.name), storage.MarkerKey)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, placeError("store "+storage.MarkerKey+" in", b.config.Place(), err)
	}
	if err := syncFolder(b.root, storage.ReservedPrefix); err != nil {
		return nil, placeError("sync "+storage.MarkerKey+" in", b.config.Place(), err)
	}
	return b.ReadMarker(ctx)
}
