package ingest

import (
	"context"
	"errors"
	"io"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/window"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PutFiles implements registry.Bundles.
func (in *Intake) PutFiles(ctx context.Context, id string, next func() (registry.NamedContent, error)) (registry.Bundled, error) {
	// Checked before a window is waited for, and also for a bundle without files.
	if err := in.core.ReadSmall(ctx, func(tx database.Tx) error {
		_, err := in.openSession(ctx, tx, id)
		return err
	}); err != nil {
		return registry.Bundled{}, err
	}
	// The bytes of a window are here: storing them does not hurry the source.
	storing := shares.WithSource(ctx, nil)
	b := in.windows.Fill(ctx, in.WindowTick, func(files []registry.NamedContent) error { return in.putWindow(storing, id, files) })
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			return b.End(b.Flush())
		}
		if err == nil {
			err = rules.Named(file)
		}
		if err == nil {
			err = in.addTo(b, id, file)
		}
		if err != nil {
			return b.End(err)
		}
	}
}

// addTo stores a large file by itself; a small one waits in a window.
func (in *Intake) addTo(b *window.Filling, id string, file registry.NamedContent) error {
	if file.Size != storage.UnknownSize && file.Size <= smallFile {
		return b.Add(file)
	}
	// The window is given back first: a large file may take long to come, and
	// others need the memory meanwhile.
	if err := b.Flush(); err != nil {
		return err
	}
	stored, err := in.PutFile(b.Context(), id, file.Path, file.Content)
	if err == nil {
		b.Count(stored.Size)
	}
	return err
}
