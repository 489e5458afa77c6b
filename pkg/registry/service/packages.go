package service

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// ListPackages implements Packages.
func (s *Service) ListPackages(ctx context.Context, filter registry.PackageFilter) (registry.PackagePage, error) {
	limit, err := registry.PackagePageLimit(filter.Limit)
	if err != nil {
		return registry.PackagePage{}, err
	}
	for field, value := range map[string]string{"producer": filter.Producer, "name": filter.Name, "retentionClass": filter.RetentionClass} {
		if value != "" {
			if err := registry.ValidateName(field, value); err != nil {
				return registry.PackagePage{}, err
			}
		}
	}
	after, err := registry.ParsePackageCursor(filter.After)
	if err != nil {
		return registry.PackagePage{}, err
	}
	var from *[3]string
	if after != nil {
		from = &[3]string{after.Producer, after.Name, after.Version}
	}
	var rows []view.Package
	err = s.read(ctx, func(tx database.Tx) (err error) {
		rows, err = view.ListPackages(ctx, tx, view.Filter{
			Producer: filter.Producer, Name: filter.Name, RetentionClass: filter.RetentionClass, After: from, Limit: limit + 1,
		})
		return err
	})
	page := registry.PackagePage{Packages: []registry.Package{}}
	for i, row := range rows {
		if i == limit { // there is one more
			last := rows[i-1]
			page.Next = registry.PackageCursor(registry.PackageRef{Producer: last.Producer, Name: last.Name, Version: last.Version})
			break
		}
		page.Packages = append(page.Packages, s.describePackage(row))
	}
	return page, err
}

func (s *Service) describePackage(p view.Package) registry.Package {
	return registry.Package{
		PackageRef: registry.PackageRef{Producer: p.Producer, Name: p.Name, Version: p.Version}, ManifestDigest: p.ManifestDigest, ManifestSize: p.ManifestSize,
		RetentionClass: p.RetentionClass, Tier: registry.Tier(p.Tier), MediaType: p.MediaType, Annotations: p.Annotations,
		Files: p.Files, Bytes: p.Bytes, Position: p.Position, Published: p.Published, Actor: p.Actor,
		BackendID: p.BackendID, Backend: s.backendName(p.BackendID), Abandoned: p.Abandoned,
	}
}

// GetPackage implements Packages.
func (s *Service) GetPackage(ctx context.Context, ref registry.PackageRef) (answer registry.Package, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = s.read(ctx, func(tx database.Tx) error {
		p, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Version)
		answer = s.describePackage(p)
		return err
	})
	return answer, err
}

// GetManifest implements Packages. It is answered from the log, so it needs no backend.
func (s *Service) GetManifest(ctx context.Context, name digest.Digest) ([]byte, error) {
	var p view.Package
	if err := s.read(ctx, func(tx database.Tx) (err error) {
		p, err = view.FindManifest(ctx, tx, name)
		return err
	}); err != nil {
		return nil, err
	}
	rec, err := s.log.ReadOne(ctx, p.Position)
	if err != nil {
		return nil, mapError(err)
	}
	payload, err := event.Decode(rec.Event)
	if err != nil {
		return nil, err
	}
	published, ok := payload.(event.PackagePublished)
	if !ok {
		return nil, fmt.Errorf("event %d is a %s, the views say it published %s", p.Position, rec.Kind, name)
	}
	return published.Manifest, nil
}

// FindFile implements Blobs.
func (s *Service) FindFile(ctx context.Context, ref registry.PackageRef, path string) (answer registry.FileInfo, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	if err := registry.ValidatePath("path", path); err != nil {
		return answer, err
	}
	err = s.read(ctx, func(tx database.Tx) error {
		f, err := view.FindFile(ctx, tx, ref.Producer, ref.Name, ref.Version, path)
		answer = registry.FileInfo{Path: f.Path, Size: f.Size, Digests: f.Digests, Executable: f.Executable, MediaType: f.MediaType}
		return err
	})
	return answer, err
}

func (s *Service) findBlob(ctx context.Context, name digest.Digest) (blob view.Blob, locations []view.Location, err error) {
	if name.IsZero() {
		return blob, nil, registry.Invalid("digest", "must not be empty")
	}
	err = s.read(ctx, func(tx database.Tx) (err error) {
		blob, locations, err = view.FindBlob(ctx, tx, name)
		return err
	})
	return blob, locations, err
}

// HeadBlob implements Blobs.
func (s *Service) HeadBlob(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	blob, _, err := s.findBlob(ctx, name)
	return registry.BlobInfo{Digests: blob.Digests, Size: blob.Size}, err
}

// OpenBlob implements Blobs. It reads the first live location that answers.
func (s *Service) OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	blob, locations, err := s.findBlob(ctx, name)
	info := registry.BlobInfo{Digests: blob.Digests, Size: blob.Size}
	if err != nil {
		return nil, info, err
	}
	if rng != nil && (rng.Offset < 0 || rng.Length < 0 || rng.Offset > blob.Size || rng.Length > blob.Size-rng.Offset) {
		return nil, info, storage.ErrRange
	}
	problem := error(nil)
	for _, location := range locations {
		if location.State != view.StateLive {
			continue
		}
		backend, err := s.placer.Open(location.BackendID)
		if err != nil || backend.Store == nil {
			problem = fmt.Errorf("%w: backend %s", registry.ErrUnavailable, location.BackendID)
			continue
		}
		body, found, err := backend.Store.Get(ctx, blob.Digests.SHA256, rng)
		if err == nil && found.Size != blob.Size {
			err = errors.Join(fmt.Errorf("%w: %s holds %d bytes, want %d", registry.ErrFailedLocation, backend.Name, found.Size, blob.Size), body.Close())
		}
		if err == nil {
			return body, info, nil
		}
		if errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("%w: %s has no such object", registry.ErrFailedLocation, backend.Name)
		}
		problem = fmt.Errorf("reading %s from %s: %w", blob.Digests.SHA256, backend.Name, err)
		s.logger.WarnContext(ctx, "reading a live location", "digest", blob.Digests.SHA256.String(), "backend", backend.Name, "error", err)
	}
	if problem == nil {
		problem = s.gone(ctx, locations)
	}
	return nil, info, problem
}
