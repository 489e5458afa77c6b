package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// copyConcurrency bounds copies from other backends within one publish.
const copyConcurrency = 4

// copyMissing copies reused blobs that are live only elsewhere into the
// placement: all locations of a publication are where the session was placed.
func (in *Intake) copyMissing(ctx context.Context, d *draft, into storage.Store) error {
	if len(d.reused) == 0 {
		return nil
	}
	var reusable map[digest.Digest]view.Reusable
	if err := in.core.Read(ctx, func(tx database.Tx) (err error) {
		reusable, err = view.FindReusable(ctx, tx, d.session.Producer, d.reused)
		return err
	}); err != nil {
		return err
	}
	var gone, stay []digest.Digest
	var copied []upload.Blob
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(copyConcurrency)
	for _, sha := range d.reused {
		r, live := reusable[sha]
		switch {
		case !live:
			gone = append(gone, sha)
		case slices.Contains(r.Backends, d.session.BackendID):
			stay = append(stay, sha)
		default:
			copied = append(copied, upload.Blob{Digests: r.Digests, Size: r.Size, Source: upload.SourceSent})
			group.Go(func() error { return in.copyBlob(groupCtx, r, into, d.session.Tier) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	err := in.core.Write(ctx, func(tx database.Tx) error {
		return errors.Join(upload.InsertBlobs(ctx, tx, d.session.ID, copied), upload.DropBlobs(ctx, tx, d.session.ID, gone))
	})
	if err == nil && len(gone) > 0 {
		return &registry.IncompleteError{Count: len(gone), Files: len(d.manifest.Files), Paths: pathsOf(d.manifest, gone)}
	}
	d.reused = stay
	return err
}

// pathsInError is how many missing paths an error names.
const pathsInError = 10

// pathsOf returns the first paths that have one of the contents. There may be
// 100,000 of either.
func pathsOf(m *manifest.Manifest, contents []digest.Digest) []string {
	among := make(map[digest.Digest]bool, len(contents))
	for _, content := range contents {
		among[content] = true
	}
	var paths []string
	for _, f := range m.Files {
		if among[f.Digests.SHA256] {
			if paths = append(paths, f.Path); len(paths) == pathsInError {
				break
			}
		}
	}
	return paths
}

func (in *Intake) copyBlob(ctx context.Context, r view.Reusable, into storage.Store, tier string) error {
	var errs error
	for _, id := range r.Backends {
		from, err := in.core.Placer.Open(id)
		if err != nil || from.Store == nil {
			continue
		}
		body, _, err := from.Store.Get(ctx, r.Digests.SHA256, nil)
		if err == nil {
			_, err = in.put(ctx, into, storage.Source{Reader: body, Size: r.Size, Want: r.Digests, Tier: tier})
			err = errors.Join(err, body.Close())
		}
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, fmt.Errorf("copying %s from %s: %w", r.Digests.SHA256, from.Name, err))
	}
	if errs == nil {
		errs = fmt.Errorf("%w: %s", registry.ErrUnavailable, r.Digests.SHA256)
	}
	return errs
}
