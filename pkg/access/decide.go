package access

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// blob decides whether a blob or manifest may be read by its digest: the caller
// must be allowed to get packages of a producer that has the blob in one of its
// packages. Otherwise the blob is not found.
//
// It costs one decision and one look-up if the caller names the producer
// (registry.WithHolder) or may get every package. Otherwise the permissions for
// up to maxHolders producers are checked one after the other.
func (g *guard) blob(ctx context.Context, name digest.Digest) error {
	if name.IsZero() {
		return registry.Invalid("digest", "must not be empty")
	}
	if holder := registry.HolderOf(ctx); holder != "" {
		err := g.may(ctx, Get, Packages, holder)
		if err == nil {
			holds, err := g.index.Holds(ctx, holder, name)
			if holds || err != nil {
				return err
			}
		} else if !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrUnavailable) {
			return err
		}
	}
	// This comes first, also for blobs that do not exist: while authorization is
	// unavailable, the answer must not tell which blobs there are.
	unknown := g.may(ctx, Get, Packages, "")
	if !errors.Is(unknown, ErrForbidden) && !errors.Is(unknown, ErrUnavailable) {
		return unknown // nil: every package
	}
	holders, err := g.index.Holders(ctx, name, maxHolders)
	if err != nil {
		return err
	}
	for _, producer := range holders {
		switch err := g.may(ctx, Get, Packages, producer); {
		case err == nil:
			return nil
		case errors.Is(err, ErrUnavailable):
			unknown = err
		case !errors.Is(err, ErrForbidden):
			return err
		}
	}
	if errors.Is(unknown, ErrUnavailable) {
		return unknown
	}
	return registry.ErrNotFound
}

// ListPackages implements registry.Packages. Without a producer in the filter,
// packages of producers that the caller may not list are left out. A page may
// then be incomplete or empty although it is not the last one.
func (g *guard) ListPackages(ctx context.Context, filter registry.PackageFilter) (registry.PackagePage, error) {
	if filter.Producer != "" {
		if err := registry.ValidateName("producer", filter.Producer); err != nil {
			return registry.PackagePage{}, err
		}
		if err := g.may(ctx, List, Packages, filter.Producer); err != nil {
			return registry.PackagePage{}, err
		}
		return g.inner.ListPackages(ctx, filter)
	}
	err := g.may(ctx, List, Packages, "")
	if err == nil {
		return g.inner.ListPackages(ctx, filter)
	}
	if !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrUnavailable) {
		return registry.PackagePage{}, err
	}
	return g.listSome(ctx, filter)
}

// listSome makes a page of the producers that the caller may list. It looks at
// up to maxProducersPerPage of them, even if the page is not full then.
func (g *guard) listSome(ctx context.Context, filter registry.PackageFilter) (page registry.PackagePage, err error) {
	page.Packages = []registry.Package{}
	first, err := registry.CursorProducer(filter.After)
	if err != nil {
		return page, err
	}
	if filter.Limit, err = registry.PackagePageLimit(filter.Limit); err != nil {
		return page, err
	}
	producers, err := g.index.Producers(ctx, first, maxProducersPerPage+1)
	if err != nil {
		return page, err
	}
	if filter.Scan == 0 {
		filter.Scan = registry.MaxPackageScan
	}
	for i, producer := range producers {
		if i == maxProducersPerPage || len(page.Packages) == filter.Limit || page.Scanned >= filter.Scan {
			page.Next = registry.CursorAt(producer)
			break
		}
		// While authorization is unavailable, leaving packages out would look as if they were gone.
		if err := g.may(ctx, List, Packages, producer); errors.Is(err, ErrForbidden) {
			continue
		} else if err != nil {
			return registry.PackagePage{}, err
		}
		one := filter
		one.Producer, one.Limit, one.Scan = producer, filter.Limit-len(page.Packages), filter.Scan-page.Scanned
		if producer != first {
			one.After = ""
		}
		found, err := g.inner.ListPackages(ctx, one)
		if err != nil {
			return registry.PackagePage{}, err
		}
		page.Packages, page.Scanned = append(page.Packages, found.Packages...), page.Scanned+found.Scanned
		if found.Next != "" {
			page.Next = found.Next
			break
		}
	}
	return page, nil
}

// backend checks a permission for a backend that is given by its name or ID.
// Permissions are for names.
func (g *guard) backend(ctx context.Context, verb, resource, nameOrID string) error {
	refused := g.may(ctx, verb, resource, nameOrID)
	if refused == nil || uuid.Validate(nameOrID) != nil {
		return refused
	}
	name, err := g.index.BackendName(nameOrID)
	if err == nil && g.may(ctx, verb, resource, name) == nil {
		return nil
	}
	return refused // it names what the caller asked for, whether that exists or not
}
