package access

import (
	"context"
	"errors"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// ListDamaged implements registry.Packages. Without a producer in the filter, packages
// of producers that the caller may not list are left out, as in ListPackages.
func (g *guard) ListDamaged(ctx context.Context, filter registry.DamageFilter) (registry.DamagePage, error) {
	after, err := registry.ParseDamageCursor(filter.After)
	if err == nil {
		err = filter.Validate()
	}
	if err != nil {
		return registry.DamagePage{}, err
	}
	verb := List
	if filter.Version != "" {
		verb = Get
	}
	err = g.may(ctx, verb, Packages, filter.Producer)
	some := filter.Producer == "" && (filter.After == "" || after.Producer != "")
	switch {
	case some && (after.Producer != "" || errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnavailable)):
		return g.damageOfSome(ctx, filter, after)
	case err != nil:
		return registry.DamagePage{}, err
	}
	return g.inner.ListDamaged(ctx, filter)
}

// damageOfSome is listSome for damage.
func (g *guard) damageOfSome(ctx context.Context, filter registry.DamageFilter, after registry.DamageCursor) (page registry.DamagePage, err error) {
	page.Damaged = []registry.DamagedFile{}
	if filter.Limit, err = registry.PackagePageLimit(filter.Limit); err != nil {
		return page, err
	}
	producers, err := g.index.Producers(ctx, after.Producer, maxProducersPerPage+1)
	if err != nil {
		return page, err
	}
	for i, producer := range producers {
		if i == maxProducersPerPage || len(page.Damaged) == filter.Limit {
			page.Next = registry.DamageCursor{Producer: producer}.String()
			break
		}
		if err := g.may(ctx, List, Packages, producer); errors.Is(err, ErrForbidden) {
			continue
		} else if err != nil {
			return registry.DamagePage{}, err
		}
		one := registry.DamageFilter{Producer: producer, Limit: filter.Limit - len(page.Damaged)}
		if producer == after.Producer && after.Position != 0 {
			within := after
			within.Producer = ""
			one.After = within.String()
		}
		found, err := g.inner.ListDamaged(ctx, one)
		if err != nil {
			return registry.DamagePage{}, err
		}
		page.Damaged = append(page.Damaged, found.Damaged...)
		if found.Next != "" {
			next, err := registry.ParseDamageCursor(found.Next)
			next.Producer = producer
			page.Next = next.String()
			return page, err
		}
	}
	return page, nil
}
