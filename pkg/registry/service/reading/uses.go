package reading

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ListFiles implements Blobs.
func (r *Reader) ListFiles(ctx context.Context, ref registry.PackageRef, query registry.FileQuery) (page registry.FilePage, err error) {
	limit, err := registry.FilePageLimit(query.Limit)
	if err == nil {
		err = ref.Validate()
	}
	if err == nil && query.Below != "" {
		err = registry.ValidatePath("below", query.Below)
	}
	if err != nil {
		return page, err
	}
	after, err := registry.ParseFileCursor(query.After)
	if err != nil {
		return page, err
	}
	if query.Below != "" {
		turn, err := r.scanning.Take(ctx, 1)
		if err != nil {
			return page, err
		}
		defer turn.Return()
	}
	var files []view.File
	err = r.core.Read(ctx, func(tx database.Tx) error {
		p, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Version)
		if err == nil {
			files, err = view.ListFiles(ctx, tx, p.Position, query.Below, after, limit+1)
		}
		return err
	})
	page.Files = make([]registry.FileInfo, 0, min(limit, len(files)))
	texts := 0
	for i, f := range files {
		if texts += len(f.Path) + len(f.MediaType); i == limit || i > 0 && texts > pageBytes {
			page.Next = registry.FileCursor(page.Files[i-1].Path)
			break
		}
		page.Files = append(page.Files, registry.FileInfo{Path: f.Path, Size: f.Size, Digests: f.Digests, Executable: f.Executable, MediaType: f.MediaType})
	}
	return page, err
}

// FindUses implements Blobs.
func (r *Reader) FindUses(ctx context.Context, name digest.Digest, query registry.UseQuery) (page registry.UsePage, err error) {
	if name.IsZero() {
		return page, registry.Invalid("digest", "must not be empty")
	}
	limit, err := registry.PackagePageLimit(query.Limit)
	if err != nil {
		return page, err
	}
	if query.Producer != "" {
		if err := registry.ValidateName("producer", query.Producer); err != nil {
			return page, err
		}
	}
	cursor, err := registry.ParseUseCursor(query.After)
	if err != nil {
		return page, err
	}
	var (
		after     *view.Use
		uses      []view.Use
		locations []view.Location
	)
	if cursor != nil {
		after = &view.Use{Producer: cursor.Producer, Position: cursor.Position, Path: cursor.Path}
	}
	err = r.core.Read(ctx, func(tx database.Tx) error {
		blob, _, err := view.FindBlob(ctx, tx, name)
		if err != nil {
			return err
		}
		page.Digests, page.Size = blob.Digests, blob.Size
		sha := blob.Digests.SHA256
		manifests, err := view.ListManifestUses(ctx, tx, sha, query.Producer)
		if err != nil {
			return err
		}
		files, err := view.ListUses(ctx, tx, sha, query.Producer, after, limit+1)
		if err != nil {
			return err
		}
		uses = slices.DeleteFunc(manifests, func(u view.Use) bool { return after != nil && byPackage(u, *after) <= 0 })
		uses = append(uses, files...)
		slices.SortStableFunc(uses, byPackage) // files of one package keep the database's order of paths
		locations, err = view.ListStandings(ctx, tx, sha)
		return err
	})
	if err == nil && len(uses) == 0 { // whatever the cursor is: it may be made up, and a blob is known by its uses only
		err = registry.ErrNotFound
	}
	if err != nil {
		return registry.UsePage{}, err
	}
	page.Uses = make([]registry.Use, 0, min(limit, len(uses)))
	for i, u := range uses {
		if i == limit {
			page.Next = registry.UseCursor(page.Uses[i-1])
			break
		}
		page.Uses = append(page.Uses, registry.Use{
			PackageRef: registry.PackageRef{Producer: u.Producer, Name: u.Name, Version: u.Version}, Position: u.Position, Path: u.Path,
		})
	}
	page.Locations = make([]registry.BlobLocation, len(locations))
	for i, l := range locations {
		page.Locations[i] = registry.BlobLocation{BackendID: l.BackendID, Backend: r.core.NameOf(l.BackendID), State: l.State, Reason: l.Reason}
	}
	slices.SortFunc(page.Locations, func(a, b registry.BlobLocation) int {
		return cmp.Or(strings.Compare(a.Backend, b.Backend), strings.Compare(a.BackendID, b.BackendID))
	})
	return page, nil
}

// byPackage orders uses by producer and position. A blob is not both a package's manifest
// and a file of it, so the manifest's path, which is "", needs no place of its own.
func byPackage(a, b view.Use) int {
	return cmp.Or(strings.Compare(a.Producer, b.Producer), cmp.Compare(a.Position, b.Position))
}
