package reading

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
)

// ListDamaged implements registry.Packages.
func (r *Reader) ListDamaged(ctx context.Context, filter registry.DamageFilter) (registry.DamagePage, error) {
	page := registry.DamagePage{Damaged: []registry.DamagedFile{}}
	if err := filter.Validate(); err != nil {
		return page, err
	}
	limit, err := registry.PackagePageLimit(filter.Limit)
	if err != nil {
		return page, err
	}
	after, err := registry.ParseDamageCursor(filter.After)
	if err == nil && after.Producer != "" { // whoever may list some producers only has been given it
		err = registry.Invalid("after", "is of a listing of some producers")
	}
	if err != nil {
		return page, err
	}
	turn, err := r.damaging.Take(ctx, 1)
	if err != nil {
		return page, err
	}
	defer turn.Return()
	err = r.core.Read(ctx, func(tx database.Tx) error {
		page = registry.DamagePage{Damaged: []registry.DamagedFile{}}
		found, more, err := doubt.ListDamage(ctx, tx, doubt.Filter{
			Producer: filter.Producer, Name: filter.Name, Version: filter.Version,
			AfterPosition: after.Position, AfterPath: after.Path, AfterBackend: after.BackendID, Limit: limit, Bytes: pageBytes,
		})
		if err != nil {
			return err
		}
		if more {
			last := found[len(found)-1]
			page.Next = registry.DamageCursor{Position: last.Position, Path: last.Path, BackendID: last.BackendID}.String()
		}
		for _, d := range found {
			if d.Event != 0 {
				if d.Since, err = eventlog.TimeTx(ctx, tx, d.Event); err != nil {
					return err
				}
			}
			page.Damaged = append(page.Damaged, registry.DamagedFile{
				PackageRef: registry.PackageRef{Producer: d.Producer, Name: d.Name, Version: d.Version}, Path: d.Path, SHA256: d.SHA256, Size: d.Size,
				Backend: r.core.NameOf(d.BackendID), BackendID: d.BackendID, Reason: d.Reason, Since: d.Since,
			})
		}
		return nil
	})
	return page, err
}
