package access

import (
	"context"
	"errors"
	"slices"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// FindUses implements registry.Blobs. Packages of producers that the caller may not read
// are left out, and so are backends that they may not see. Of a blob that more than
// maxHolders producers have, a caller who may not get every package names the producer.
func (g *guard) FindUses(ctx context.Context, name digest.Digest, query registry.UseQuery) (registry.UsePage, error) {
	page, err := g.usesOf(ctx, name, query)
	if err != nil {
		return registry.UsePage{}, err
	}
	page.Locations = slices.DeleteFunc(page.Locations, func(l registry.BlobLocation) bool {
		if l.Backend == "" { // it is declared no more
			return g.may(ctx, List, Backends, "") != nil
		}
		return g.may(ctx, Get, Backends, l.Backend) != nil
	})
	return page, nil
}

func (g *guard) usesOf(ctx context.Context, name digest.Digest, query registry.UseQuery) (registry.UsePage, error) {
	if query.Producer != "" {
		if err := registry.ValidateName("producer", query.Producer); err != nil {
			return registry.UsePage{}, err
		}
		if err := g.may(ctx, Get, Packages, query.Producer); err != nil {
			return registry.UsePage{}, err
		}
		return g.inner.FindUses(ctx, name, query)
	}
	unknown := g.may(ctx, Get, Packages, "")
	if unknown == nil {
		return g.inner.FindUses(ctx, name, query)
	}
	if !errors.Is(unknown, ErrForbidden) && !errors.Is(unknown, ErrUnavailable) {
		return registry.UsePage{}, unknown
	}
	cursor, err := registry.ParseUseCursor(query.After)
	if err != nil {
		return registry.UsePage{}, err
	}
	limit, err := registry.PackagePageLimit(query.Limit)
	if err != nil {
		return registry.UsePage{}, err
	}
	if name.IsZero() {
		return registry.UsePage{}, registry.Invalid("digest", "must not be empty")
	}
	holders, err := g.index.Holders(ctx, name, maxHolders)
	if err != nil {
		return registry.UsePage{}, err
	}
	slices.Sort(holders)
	var all registry.UsePage
	found := false
	for _, producer := range holders {
		if cursor != nil && producer < cursor.Producer {
			continue
		}
		switch err := g.may(ctx, Get, Packages, producer); {
		case errors.Is(err, ErrForbidden):
			continue
		case err != nil: // what is left out would look as if it were gone
			return registry.UsePage{}, err
		}
		if found && len(all.Uses) == limit {
			all.Next = registry.UseCursor(all.Uses[limit-1])
			return all, nil
		}
		one := registry.UseQuery{Producer: producer, Limit: limit - len(all.Uses)}
		if cursor != nil && producer == cursor.Producer {
			one.After = query.After
		}
		page, err := g.inner.FindUses(ctx, name, one)
		if errors.Is(err, registry.ErrNotFound) {
			continue
		}
		if err != nil {
			return registry.UsePage{}, err
		}
		page.Uses = append(all.Uses, page.Uses...)
		all, found = page, true
		if all.Next != "" {
			return all, nil
		}
	}
	switch {
	case !found && errors.Is(unknown, ErrUnavailable): // the answer must not tell which blobs there are
		return registry.UsePage{}, unknown
	case !found:
		return registry.UsePage{}, registry.ErrNotFound
	}
	return all, nil
}
