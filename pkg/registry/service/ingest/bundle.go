package ingest

import (
	"context"
	"errors"
	"io"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PutFiles implements registry.Bundles.
func (in *Intake) PutFiles(ctx context.Context, id string, next func() (registry.NamedContent, error)) (registry.Bundled, error) {
	// Checked before a window is waited for, and also for a bundle without files.
	if err := in.core.Read(ctx, func(tx database.Tx) error {
		_, err := in.openSession(ctx, tx, id)
		return err
	}); err != nil {
		return registry.Bundled{}, err
	}
	b := &bundle{ctx: ctx, in: in, id: id}
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			return b.end(b.flush())
		}
		if err == nil {
			err = checkBundled(file)
		}
		if err == nil {
			err = b.add(file)
		}
		if err != nil {
			return b.end(err)
		}
	}
}

// add stores a large file by itself; a small one waits in a window.
func (b *bundle) add(file registry.NamedContent) error {
	if file.Size != storage.UnknownSize && file.Size <= smallFile {
		return b.addSmall(file)
	}
	// The window is given back first: a large file may take long to come, and
	// others need the memory meanwhile.
	if err := b.flush(); err != nil {
		return err
	}
	stored, err := b.in.PutFile(b.ctx, b.id, file.Path, file.Content)
	if err == nil {
		b.stored.Files++
		b.stored.Bytes += stored.Size
	}
	return err
}

// addSmall reads the file by way of a little memory of the bundle's own, so that
// the window can be taken from it while it waits for bytes. It has none before
// some of them are here.
func (b *bundle) addSmall(file registry.NamedContent) error {
	left := int(file.Size)
	n, err := io.ReadAtLeast(file.Reader, b.chunk[:min(left, len(b.chunk))], min(left, firstBytes))
	if err != nil {
		return readError(file.Path, err)
	}
	if err := b.lend(file.Size); err != nil {
		return err
	}
	for {
		if err := b.keep(b.chunk[:n]); err != nil {
			return err
		}
		if left -= n; left == 0 {
			return b.complete(file)
		}
		if n, err = file.Reader.Read(b.chunk[:min(left, len(b.chunk))]); n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return readError(file.Path, err)
		}
	}
}

func checkBundled(file registry.NamedContent) error {
	if err := registry.ValidatePath("path", file.Path); err != nil {
		return err
	}
	if file.Size < storage.UnknownSize || file.Size > manifest.MaxFileSize {
		return registry.Invalid("size", "of %q must be 0 to %d bytes, is %d", file.Path, int64(manifest.MaxFileSize), file.Size)
	}
	return registry.ValidateDigests("digests", file.Digests)
}
