package access

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// Lister is an Authorizer that knows all permissions of a holder, and so need not
// be asked about each.
type Lister interface {
	Permissions(who Identity) []registry.Permission
}

// WhoAmI implements registry.Callers. It says nothing that the caller could not
// find out by trying: of producers and backends it names only those that the
// caller may list, or has named.
func (g *guard) WhoAmI(ctx context.Context, producer string) (registry.Caller, error) {
	who, known := IdentityOf(ctx)
	if !known {
		return registry.Caller{}, Unauthenticated("the caller is not authenticated")
	}
	if producer != "" {
		if err := registry.ValidateName("producer", producer); err != nil {
			return registry.Caller{}, err
		}
	}
	caller := registry.Caller{Name: who.Name, Groups: append([]string{}, who.Groups...), Authenticated: true}
	if lister, ok := g.authorizer.(Lister); ok {
		// Not with the others: an empty list of permissions is an answer as well.
		caller.Permissions, caller.Complete = append([]registry.Permission{}, lister.Permissions(who)...), true
		return caller, nil
	}
	found, err := g.explore(ctx, producer)
	caller.Permissions, caller.Complete = found.permissions, found.everything
	return caller, err
}

// explored is what asking about one action after another has found.
type explored struct {
	permissions []registry.Permission
	everything  bool // every verb on every resource, for all names
}

// explore asks about every verb on all names first, then about the names.
func (g *guard) explore(ctx context.Context, producer string) (explored, error) {
	found := explored{permissions: []registry.Permission{}, everything: true}
	missing := map[string][]string{} // by resource: verbs that are not allowed for all names
	for _, resource := range slices.Sorted(maps.Keys(Rules)) {
		allowed, err := g.allowed(ctx, resource, Rules[resource], "")
		if err != nil {
			return explored{}, err
		}
		found.add(resource, allowed)
		for _, verb := range Rules[resource] {
			if !slices.Contains(allowed, verb) {
				missing[resource] = append(missing[resource], verb)
				found.everything = false
			}
		}
	}
	if err := g.exploreProducers(ctx, &found, missing[Packages], producer); err != nil {
		return explored{}, err
	}
	return found, g.exploreBackends(ctx, &found, missing)
}

// add records verbs for all names, or for the given ones.
func (e *explored) add(resource string, verbs []string, names ...string) {
	if len(verbs) == 0 {
		return
	}
	for i, p := range e.permissions {
		if len(names) > 0 && len(p.Names) > 0 && p.Resource == resource && slices.Equal(p.Verbs, verbs) {
			e.permissions[i].Names = append(p.Names, names...)
			return
		}
	}
	e.permissions = append(e.permissions, registry.Permission{Resource: resource, Verbs: verbs, Names: names})
}

// exploreProducers asks about the producer that the caller has named, and about
// those that they may list: a listing of packages names no others.
func (g *guard) exploreProducers(ctx context.Context, found *explored, verbs []string, named string) error {
	if len(verbs) == 0 {
		return nil
	}
	if named != "" {
		allowed, err := g.allowed(ctx, Packages, verbs, named)
		if err != nil {
			return err
		}
		found.add(Packages, allowed, named)
	}
	producers, err := g.index.Producers(ctx, "", maxProducersPerPage)
	if err != nil {
		return err
	}
	listed := 0
	for _, producer := range producers {
		if producer == named || listed == maxExplored {
			continue
		}
		if err := g.may(ctx, List, Packages, producer); errors.Is(err, ErrForbidden) {
			continue
		} else if err != nil {
			return err
		}
		listed++
		allowed, err := g.allowed(ctx, Packages, verbs, producer)
		if err != nil {
			return err
		}
		found.add(Packages, allowed, producer)
	}
	return nil
}

// exploreBackends asks about the backends, if the caller may list them.
func (g *guard) exploreBackends(ctx context.Context, found *explored, missing map[string][]string) error {
	if slices.Contains(missing[Backends], List) {
		return nil
	}
	backends, err := g.inner.ListBackends(ctx)
	if err != nil {
		return err
	}
	for _, backend := range backends[:min(len(backends), maxExplored)] {
		for _, resource := range []string{Backends, Probes, Sweeps, Verifications} {
			allowed, err := g.allowed(ctx, resource, missing[resource], backend.Name)
			if err != nil {
				return err
			}
			found.add(resource, allowed, backend.Name)
		}
	}
	return nil
}

// allowed returns those of the verbs that the caller may use.
func (g *guard) allowed(ctx context.Context, resource string, verbs []string, name string) ([]string, error) {
	var allowed []string
	for _, verb := range verbs {
		switch err := g.may(ctx, verb, resource, name); {
		case err == nil:
			allowed = append(allowed, verb)
		case !errors.Is(err, ErrForbidden):
			return nil, err // a shorter list would look as if permissions were gone
		}
	}
	return allowed, nil
}
