package reading

import (
	"cmp"
	"context"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ListPackages implements Packages.
func (r *Reader) ListPackages(ctx context.Context, filter registry.PackageFilter) (registry.PackagePage, error) {
	limit, err := registry.PackagePageLimit(filter.Limit)
	if err != nil {
		return registry.PackagePage{}, err
	}
	if err := filter.Validate(); err != nil {
		return registry.PackagePage{}, err
	}
	after, err := registry.ParsePackageCursor(filter.After)
	if err != nil {
		return registry.PackagePage{}, err
	}
	var from *[3]string
	if after != nil {
		from = &[3]string{after.Producer, after.Name, after.Version}
	}
	narrowed := view.Filter{
		Producer: filter.Producer, Name: filter.Name, RetentionClass: filter.RetentionClass, After: from,
		NameGlob: filter.NameGlob, Tier: string(filter.Tier), Actor: filter.Actor, Annotations: filter.Annotations, Since: filter.Since, Until: filter.Until, At: filter.At,
		Limit: limit, Bytes: pageBytes, Scan: cmp.Or(filter.Scan, registry.MaxPackageScan),
	}
	if narrowed.Scans() {
		turn, err := r.scanning.Take(ctx, 1)
		if err != nil {
			return registry.PackagePage{}, err
		}
		defer turn.Return()
	}
	var found view.Page
	err = r.core.Read(ctx, func(tx database.Tx) (err error) {
		if err := core.WasAt(ctx, tx, filter.At); err != nil {
			return err
		}
		found, err = view.ListPackages(ctx, tx, narrowed)
		return err
	})
	page := registry.PackagePage{Packages: []registry.Package{}, Scanned: found.Scanned}
	if last := found.Next; last != nil {
		page.Next = registry.PackageCursor(registry.PackageRef{Producer: last[0], Name: last[1], Version: last[2]})
	}
	for _, row := range found.Packages {
		page.Packages = append(page.Packages, r.describePackage(row))
	}
	return page, err
}

func (r *Reader) describePackage(p view.Package) registry.Package {
	return registry.Package{
		PackageRef: registry.PackageRef{Producer: p.Producer, Name: p.Name, Version: p.Version}, ManifestDigest: p.ManifestDigest, ManifestSize: p.ManifestSize,
		RetentionClass: p.RetentionClass, Tier: registry.Tier(p.Tier), MediaType: p.MediaType, Annotations: p.Annotations,
		Files: p.Files, Bytes: p.Bytes, Position: p.Position, Published: p.Published, Actor: p.Actor,
		BackendID: p.BackendID, Backend: r.core.NameOf(p.BackendID), Abandoned: p.Abandoned,
	}
}

// GetPackage implements Packages.
func (r *Reader) GetPackage(ctx context.Context, ref registry.PackageRef) (answer registry.Package, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = r.core.Read(ctx, func(tx database.Tx) error {
		p, err := view.FindPackage(ctx, tx, ref.Producer, ref.Name, ref.Version)
		answer = r.describePackage(p)
		return err
	})
	return answer, err
}
