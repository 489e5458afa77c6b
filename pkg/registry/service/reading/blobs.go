package reading

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// FindFile implements Blobs.
func (r *Reader) FindFile(ctx context.Context, ref registry.PackageRef, path string) (answer registry.FileInfo, err error) {
	if err := validate(ref, path); err != nil {
		return answer, err
	}
	err = r.core.ReadOne(ctx, func(tx database.Tx) error {
		f, err := view.FindFile(ctx, tx, ref.Producer, ref.Name, ref.Version, path)
		answer = registry.FileInfo{Path: f.Path, Size: f.Size, Digests: f.Digests, Executable: f.Executable, MediaType: f.MediaType}
		return err
	})
	return answer, err
}

func validate(ref registry.PackageRef, path string) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	return registry.ValidatePath("path", path)
}

// OpenFile implements Blobs.
func (r *Reader) OpenFile(ctx context.Context, ref registry.PackageRef, path string, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if err := validate(ref, path); err != nil {
		return nil, registry.BlobInfo{}, err
	}
	var (
		blob      view.Blob
		locations []view.Location
	)
	err := r.core.ReadOne(ctx, func(tx database.Tx) (err error) {
		blob, locations, err = view.FindBlobOf(ctx, tx, ref.Producer, ref.Name, ref.Version, path)
		return err
	})
	return r.open(ctx, blob, locations, rng, err)
}

func (r *Reader) findBlob(ctx context.Context, name digest.Digest) (blob view.Blob, locations []view.Location, err error) {
	if name.IsZero() {
		return blob, nil, registry.Invalid("digest", "must not be empty")
	}
	err = r.core.ReadOne(ctx, func(tx database.Tx) (err error) {
		blob, locations, err = view.FindBlob(ctx, tx, name)
		return err
	})
	return blob, locations, err
}

// HeadBlob implements Blobs.
func (r *Reader) HeadBlob(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	blob, _, err := r.findBlob(ctx, name)
	return registry.BlobInfo{Digests: blob.Digests, Size: blob.Size}, err
}

// OpenBlob implements Blobs.
func (r *Reader) OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	blob, locations, err := r.findBlob(ctx, name)
	return r.open(ctx, blob, locations, rng, err)
}

// open reads the first live location that answers, those in doubt last. It returns the
// error by which the blob was not found, if there is one.
func (r *Reader) open(ctx context.Context, blob view.Blob, locations []view.Location, rng *storage.Range, err error) (io.ReadCloser, registry.BlobInfo, error) {
	info := registry.BlobInfo{Digests: blob.Digests, Size: blob.Size}
	if err != nil {
		return nil, info, err
	}
	if rng != nil && (rng.Offset < 0 || rng.Length < 0 || rng.Offset > blob.Size || rng.Length > blob.Size-rng.Offset) {
		return nil, info, storage.ErrRange
	}
	if err := r.soundFirst(ctx, blob.Digests.SHA256, locations); err != nil {
		return nil, info, err
	}
	problem := error(nil)
	for _, location := range locations {
		if location.State != view.StateLive {
			continue
		}
		backend, err := r.core.Placer.Open(location.BackendID)
		if err != nil || backend.Store == nil {
			problem = fmt.Errorf("%w: backend %s", registry.ErrUnavailable, location.BackendID)
			continue
		}
		body, found, err := backend.Store.Get(ctx, blob.Digests.SHA256, rng)
		if err == nil && found.Size != blob.Size {
			err = errors.Join(fmt.Errorf("%w: %s holds %d bytes, want %d", registry.ErrFailedLocation, backend.Name, found.Size, blob.Size), body.Close())
		}
		if err == nil {
			return r.watch(ctx, backend, blob.Digests.SHA256, body), info, nil
		}
		r.core.Logger.WarnContext(ctx, "reading a live location", "digest", blob.Digests.SHA256.String(), "backend", backend.Name, "error", err)
		r.core.Suspect(ctx, backend, blob.Digests.SHA256, err)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			err = fmt.Errorf("%w: %s has no such object", registry.ErrFailedLocation, backend.Name)
		case errors.Is(err, storage.ErrRange): // it is within the blob, so the object is shorter
			err = fmt.Errorf("%w: %s holds fewer than the %d bytes", registry.ErrFailedLocation, backend.Name, blob.Size)
		}
		problem = fmt.Errorf("reading %s from %s: %w", blob.Digests.SHA256, backend.Name, err)
	}
	if problem == nil {
		problem = r.gone(ctx, locations)
	}
	return nil, info, problem
}

// gone says why a blob without a live location cannot be read.
func (r *Reader) gone(ctx context.Context, locations []view.Location) error {
	for _, l := range locations {
		if l.Reason != view.ReasonAbandoned {
			return registry.ErrFailedLocation
		}
	}
	if len(locations) == 0 {
		return registry.ErrFailedLocation
	}
	last := &registry.AbandonedError{BackendID: locations[len(locations)-1].BackendID}
	err := r.core.Read(ctx, func(tx database.Tx) error {
		backend, err := view.FindBackend(ctx, tx, last.BackendID)
		if err != nil {
			return err
		}
		last.Backend = backend.Name
		// It may be declared again, and not verified since.
		if last.Position, err = view.FindAbandoned(ctx, tx, last.BackendID); errors.Is(err, view.ErrNotFound) {
			return nil
		}
		return err
	})
	return errors.Join(err, last)
}
