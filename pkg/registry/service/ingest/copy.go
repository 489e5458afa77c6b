package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// copyConcurrency bounds copies from other backends within one publish.
const copyConcurrency = 4

// copyMissing copies reused blobs that are live only elsewhere into the
// placement: all locations of a publication are where the session was placed. It
// returns errCopied if there were any, since copying may take hours, and the draft is released for it.
func (in *Intake) copyMissing(ctx context.Context, d *draft, into storage.Store) error {
	if len(d.reused)+len(d.held) == 0 {
		return nil
	}
	var reusable map[digest.Digest]view.Reusable // of what is not in the placement
	var here map[digest.Digest]bool
	var missing []digest.Digest
	if err := in.core.Read(ctx, func(tx database.Tx) (err error) {
		if here, err = soundIn(ctx, tx, d.session.BackendID, slices.Concat(d.held, d.reused)); err != nil {
			return err
		}
		missing = slices.DeleteFunc(slices.Clone(d.reused), func(sha digest.Digest) bool { return here[sha] })
		reusable, err = findSound(ctx, tx, d.session.Producer, missing)
		return err
	}); err != nil {
		return err
	}
	var gone []digest.Digest
	var elsewhere []view.Reusable
	for _, sha := range d.held {
		if !here[sha] { // it is damaged or in doubt meanwhile, and must be written
			gone = append(gone, sha)
		}
	}
	for _, sha := range missing {
		if r, live := reusable[sha]; live {
			elsewhere = append(elsewhere, r)
		} else {
			gone = append(gone, sha)
		}
	}
	if len(gone)+len(elsewhere) == 0 {
		return nil
	}
	reusable, here = nil, nil
	d.release()
	var mu sync.Mutex // of gone and copied
	var copied []upload.Blob
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(copyConcurrency)
	for _, r := range elsewhere {
		group.Go(func() error {
			err := in.copyBlob(groupCtx, r, into, d.session.Tier)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, errUnsound) {
				gone, err = append(gone, r.Digests.SHA256), nil
			} else if err == nil {
				copied = append(copied, upload.Blob{Digests: r.Digests, Size: r.Size, Source: upload.SourceSent})
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := in.core.Write(ctx, func(tx database.Tx) error {
		return errors.Join(upload.InsertBlobs(ctx, tx, d.session.ID, copied), upload.DropBlobs(ctx, tx, d.session.ID, gone))
	}); err != nil {
		return err
	}
	if len(gone) > 0 {
		return in.goneError(ctx, d, gone)
	}
	return errCopied
}

// pathsInError is how many missing paths an error names.
const pathsInError = 10

// goneError says of which files the content was there, and is not any more.
func (in *Intake) goneError(ctx context.Context, d *draft, gone []digest.Digest) error {
	e := &registry.IncompleteError{Count: len(gone), Files: d.files}
	if err := in.core.Read(ctx, func(tx database.Tx) (err error) {
		e.Paths, err = upload.FindPaths(ctx, tx, d.session.ID, gone, pathsInError)
		return err
	}); err != nil {
		return err
	}
	return e
}

// findSound is view.FindReusable without locations in doubt.
func findSound(ctx context.Context, tx database.Tx, producer string, blobs []digest.Digest) (map[digest.Digest]view.Reusable, error) {
	reusable, err := view.FindReusable(ctx, tx, producer, blobs)
	if err != nil {
		return nil, err
	}
	doubts, err := doubt.Find(ctx, tx, slices.Collect(maps.Keys(reusable)))
	for sha, backends := range doubts {
		r := reusable[sha]
		r.Backends = slices.DeleteFunc(r.Backends, func(id string) bool { return slices.Contains(backends, id) })
		if reusable[sha] = r; len(r.Backends) == 0 {
			delete(reusable, sha)
		}
	}
	return reusable, err
}

// errUnsound: no copy of the blob that could be asked for is as the log says.
var errUnsound = errors.New("no copy can be read")

// copyBlob stores a blob from the first backend that has it. errUnsound.
func (in *Intake) copyBlob(ctx context.Context, r view.Reusable, into storage.Store, tier string) error {
	var errs error
	asked, unsound := 0, 0
	for _, id := range r.Backends {
		from, err := in.core.Placer.Open(id)
		if err != nil || from.Store == nil {
			continue
		}
		atSource, err := in.copyFrom(ctx, from.Store, r, into, tier)
		if err == nil {
			return nil
		}
		asked++
		if atSource && in.core.Suspect(ctx, from, r.Digests.SHA256, err) {
			unsound++
		}
		errs = errors.Join(errs, fmt.Errorf("copying %s from %s: %w", r.Digests.SHA256, from.Name, err))
	}
	switch {
	case asked == 0:
		return fmt.Errorf("%w: %s", registry.ErrUnavailable, r.Digests.SHA256)
	case asked == unsound:
		in.core.Logger.WarnContext(ctx, "copying a blob", "error", errs)
		return errUnsound
	}
	return errs
}

// copyFrom copies a blob, and reports whether an error is the source's.
func (in *Intake) copyFrom(ctx context.Context, from storage.Store, r view.Reusable, into storage.Store, tier string) (atSource bool, err error) {
	body, found, err := from.Get(ctx, r.Digests.SHA256, nil)
	if err != nil {
		return true, err
	}
	if found.Size != r.Size {
		err = fmt.Errorf("%w: it holds %d bytes, want %d", registry.ErrFailedLocation, found.Size, r.Size)
		return true, errors.Join(err, body.Close())
	}
	_, err = in.put(ctx, into, storage.Source{Reader: body, Size: r.Size, Want: r.Digests, Tier: tier})
	return errors.Is(err, storage.ErrMismatch) || errors.Is(err, storage.ErrSource), errors.Join(err, body.Close())
}
