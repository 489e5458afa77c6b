package access

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// blob decides whether a blob or manifest may be read by its digest: if the
// caller may get packages of a producer one of whose packages has it. Else there is no such blob.
//
// It costs one decision and one look-up where the caller says whose package it
// is of (registry.WithHolder) or may get every package. Otherwise producers are
// asked about one after the other, maxHolders of them at most.
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
	// Asked first, and of blobs that nobody has too: while nothing can be found
	// out, the answer must not tell which blobs there are.
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
// packages of producers that the caller may not list are left out, and a page
// may have fewer packages than it could, even none, before the last one.
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

// listSome makes a page of the producers that may be listed. It looks at
// maxProducersPerPage of them at most, wherever that leaves the page.
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
	for i, producer := range producers {
		if i == maxProducersPerPage || len(page.Packages) == filter.Limit {
			page.Next = registry.CursorAt(producer)
			break
		}
		// Left out while nobody can say, packages would look as if they were gone.
		if err := g.may(ctx, List, Packages, producer); errors.Is(err, ErrForbidden) {
			continue
		} else if err != nil {
			return registry.PackagePage{}, err
		}
		one := filter
		one.Producer, one.Limit = producer, filter.Limit-len(page.Packages)
		if producer != first {
			one.After = ""
		}
		found, err := g.inner.ListPackages(ctx, one)
		if err != nil {
			return registry.PackagePage{}, err
		}
		page.Packages = append(page.Packages, found.Packages...)
		if found.Next != "" {
			page.Next = found.Next
			break
		}
	}
	return page, nil
}

// backend asks for a right to a backend that is called by its name or its id.
// Rights are given to names.
func (g *guard) backend(ctx context.Context, verb, resource, nameOrID string) error {
	refused := g.may(ctx, verb, resource, nameOrID)
	if refused == nil || uuid.Validate(nameOrID) != nil {
		return refused
	}
	name, err := g.index.BackendName(nameOrID)
	if err == nil && g.may(ctx, verb, resource, name) == nil {
		return nil
	}
	return refused // in the words of what was asked for, whether it is there or not
}
