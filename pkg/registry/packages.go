package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// ListPackages implements Packages.
func (s *Service) ListPackages(ctx context.Context, filter PackageFilter) (PackagePage, error) {
	limit, err := PackagePageLimit(filter.Limit)
	if err != nil {
		return PackagePage{}, err
	}
	for field, value := range map[string]string{"producer": filter.Producer, "name": filter.Name, "retentionClass": filter.RetentionClass} {
		if value != "" {
			if err := ValidateName(field, value); err != nil {
				return PackagePage{}, err
			}
		}
	}
	after, err := parseCursor(filter.After)
	if err != nil {
		return PackagePage{}, err
	}
	var rows []view.Package
	err = s.read(ctx, func(tx database.Tx) (err error) {
		rows, err = view.ListPackages(ctx, tx, view.Filter{
			Producer: filter.Producer, Name: filter.Name, RetentionClass: filter.RetentionClass, After: after, Limit: limit + 1,
		})
		return err
	})
	page := PackagePage{Packages: []Package{}}
	for i, row := range rows {
		if i == limit { // there is one more
			last := rows[i-1]
			page.Next = formatCursor(last.Producer, last.Name, last.Version)
			break
		}
		page.Packages = append(page.Packages, s.describePackage(row))
	}
	return page, err
}

// PackagePageLimit is how many packages a page has that was asked for with
// this limit. *InvalidError on "limit".
func PackagePageLimit(asked int) (int, error) {
	return pageLimit(asked, DefaultPackagePage, MaxPackagePage)
}

func pageLimit(asked, usual, most int) (int, error) {
	if asked < 0 || asked > most {
		return 0, Invalid("limit", "must be 1 to %d, is %d", most, asked)
	}
	if asked == 0 {
		return usual, nil
	}
	return asked, nil
}

// A cursor is opaque to clients: base64url of a JSON array.
func formatCursor(parts ...string) string {
	data, _ := json.Marshal(parts) // strings always encode
	return base64.RawURLEncoding.EncodeToString(data)
}

// CursorAt is an After with which a listing begins at a producer's first package.
func CursorAt(producer string) string { return formatCursor(producer, "", "") }

// CursorProducer returns the producer that a listing goes on at, "" for the
// start. *InvalidError on "after".
func CursorProducer(cursor string) (string, error) {
	parts, err := parseCursor(cursor)
	if parts == nil {
		return "", err
	}
	return parts[0], err
}

func parseCursor(text string) (*[3]string, error) {
	if text == "" {
		return nil, nil
	}
	var parts []string
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &parts)
	}
	if err != nil || len(parts) != 3 || ValidateName("producer", parts[0]) != nil ||
		// "" comes before every name: see CursorAt.
		parts[1]+parts[2] != "" && (PackageRef{parts[0], parts[1], parts[2]}).Validate() != nil {
		return nil, Invalid("after", "%.80q is not the \"next\" of an earlier page", text)
	}
	return (*[3]string)(parts), nil
}

func (s *Service) describePackage(p view.Package) Package {
	return Package{
		PackageRef: PackageRef{p.Producer, p.Name, p.Version}, ManifestDigest: p.ManifestDigest, ManifestSize: p.ManifestSize,
		RetentionClass: p.RetentionClass, Tier: Tier(p.Tier), MediaType: p.MediaType, Annotations: p.Annotations,
		Files: p.Files, Bytes: p.Bytes, Position: p.Position, Published: p.Published, Actor: p.Actor,
		BackendID: p.BackendID, Backend: s.backendName(p.BackendID), Abandoned: p.Abandoned,
	}
}

// GetPackage implements Packages.
func (s *Service) GetPackage(ctx context.Context, ref PackageRef) (answer Package, err error) {
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
		return nil, err
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
func (s *Service) FindFile(ctx context.Context, ref PackageRef, path string) (answer FileInfo, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	if err := validatePath("path", path); err != nil {
		return answer, err
	}
	err = s.read(ctx, func(tx database.Tx) error {
		f, err := view.FindFile(ctx, tx, ref.Producer, ref.Name, ref.Version, path)
		answer = FileInfo{Path: f.Path, Size: f.Size, Digests: f.Digests, Executable: f.Executable, MediaType: f.MediaType}
		return err
	})
	return answer, err
}

func (s *Service) findBlob(ctx context.Context, name digest.Digest) (blob view.Blob, locations []view.Location, err error) {
	if name.IsZero() {
		return blob, nil, Invalid("digest", "must not be empty")
	}
	err = s.read(ctx, func(tx database.Tx) (err error) {
		blob, locations, err = view.FindBlob(ctx, tx, name)
		return err
	})
	return blob, locations, err
}

// HeadBlob implements Blobs.
func (s *Service) HeadBlob(ctx context.Context, name digest.Digest) (BlobInfo, error) {
	blob, _, err := s.findBlob(ctx, name)
	return BlobInfo{Digests: blob.Digests, Size: blob.Size}, err
}

// OpenBlob implements Blobs. It reads the first live location that answers.
func (s *Service) OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, BlobInfo, error) {
	blob, locations, err := s.findBlob(ctx, name)
	info := BlobInfo{Digests: blob.Digests, Size: blob.Size}
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
			problem = fmt.Errorf("%w: backend %s", ErrUnavailable, location.BackendID)
			continue
		}
		body, found, err := backend.Store.Get(ctx, blob.Digests.SHA256, rng)
		if err == nil && found.Size != blob.Size {
			err = errors.Join(fmt.Errorf("%w: %s holds %d bytes, want %d", ErrFailedLocation, backend.Name, found.Size, blob.Size), body.Close())
		}
		if err == nil {
			return body, info, nil
		}
		if errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("%w: %s has no such object", ErrFailedLocation, backend.Name)
		}
		problem = fmt.Errorf("reading %s from %s: %w", blob.Digests.SHA256, backend.Name, err)
		s.logger.WarnContext(ctx, "reading a live location", "digest", blob.Digests.SHA256.String(), "backend", backend.Name, "error", err)
	}
	if problem == nil {
		problem = s.gone(ctx, locations)
	}
	return nil, info, problem
}
