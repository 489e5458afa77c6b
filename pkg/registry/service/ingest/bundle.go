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
	b := bundle{in: in, id: id}
	defer b.release()
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			err = b.flush(ctx)
			return b.stored, err
		}
		if err == nil {
			err = checkBundled(file)
		}
		if err == nil {
			err = b.add(ctx, file)
		}
		if err != nil {
			return b.stored, err
		}
	}
}

// bundle is one request: small files wait in a window until it is full, a large
// one is stored by itself. For one goroutine.
type bundle struct {
	in     *Intake
	id     string
	window *window // nil while none is lent
	stored registry.Bundled
}

func (b *bundle) add(ctx context.Context, file registry.NamedContent) error {
	if file.Size == storage.UnknownSize || file.Size > smallFile {
		return b.addLarge(ctx, file)
	}
	return b.addSmall(ctx, file)
}

// addLarge gives the window back first: a large file may take long to come, and
// others need the memory meanwhile.
func (b *bundle) addLarge(ctx context.Context, file registry.NamedContent) error {
	if err := b.flush(ctx); err != nil {
		return err
	}
	b.release()
	stored, err := b.in.PutFile(ctx, b.id, file.Path, file.Content)
	if err == nil {
		b.count(1, stored.Size)
	}
	return err
}

func (b *bundle) addSmall(ctx context.Context, file registry.NamedContent) error {
	switch {
	case b.window == nil:
		// A window is lent when the bytes of a file are here: a client that only
		// keeps a connection open holds none.
		file, err := readAll(file)
		if err != nil {
			return err
		}
		if b.window, err = b.in.windows.lend(ctx); err != nil {
			return err
		}
		return b.window.add(file)
	case !b.window.fits(file.Size):
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	return b.window.add(file)
}

// flush stores what is in the window.
func (b *bundle) flush(ctx context.Context) error {
	if b.window == nil || len(b.window.files) == 0 {
		return nil
	}
	files, size := len(b.window.files), int64(b.window.used)
	err := b.in.putWindow(ctx, b.id, b.window.files)
	b.window.reset()
	if err == nil {
		b.count(files, size)
	}
	return err
}

func (b *bundle) count(files int, size int64) {
	b.stored.Files += files
	b.stored.Bytes += size
}

// release gives the window back and drops what is in it.
func (b *bundle) release() {
	if b.window != nil {
		b.in.windows.giveBack(b.window)
		b.window = nil
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
