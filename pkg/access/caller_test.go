package access_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

// asError makes an error of an answer, to compare it with others.
func asError(caller registry.Caller, err error) (registry.Caller, error) {
	if err == nil {
		err = fmt.Errorf("%+v", caller)
	}
	return caller, err
}

// TestWhoAmI: a caller is told what it may do, and of others nothing.
func TestWhoAmI(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	on := func(verb, resource, name string) access.Action {
		return access.Action{Verb: verb, Resource: resource, Name: name}
	}
	everything := []access.Action{}
	for resource, verbs := range access.Rules {
		for _, verb := range verbs {
			everything = append(everything, on(verb, resource, ""))
		}
	}
	for name, test := range map[string]struct {
		allowed  []access.Action
		producer string
		want     []registry.Permission
		complete bool
	}{
		"nothing": {want: []registry.Permission{}},
		"everything": {allowed: everything, complete: true, want: []registry.Permission{
			{Resource: "backends", Verbs: []string{"get", "list"}}, {Resource: "events", Verbs: []string{"get"}},
			{Resource: "packages", Verbs: []string{"create", "get", "list", "delete"}}, {Resource: "probes", Verbs: []string{"create"}},
			{Resource: "sweeps", Verbs: []string{"create"}}, {Resource: "verifications", Verbs: []string{"create"}},
		}},
		"a producer that may be listed": {
			allowed: []access.Action{on("list", "packages", "mine"), on("get", "packages", "mine")},
			want:    []registry.Permission{{Resource: "packages", Verbs: []string{"get", "list"}, Names: []string{"mine"}}},
		},
		"both": {
			allowed: []access.Action{on("list", "packages", "mine"), on("list", "packages", "theirs")},
			want:    []registry.Permission{{Resource: "packages", Verbs: []string{"list"}, Names: []string{"mine", "theirs"}}},
		},
		"one that may not be listed is not named": {allowed: []access.Action{on("create", "packages", "mine")}, want: []registry.Permission{}},
		"unless the caller names it": {
			allowed: []access.Action{on("create", "packages", "mine")}, producer: "mine",
			want: []registry.Permission{{Resource: "packages", Verbs: []string{"create"}, Names: []string{"mine"}}},
		},
		"one that has no packages": {
			allowed: []access.Action{on("create", "packages", "new")}, producer: "new",
			want: []registry.Permission{{Resource: "packages", Verbs: []string{"create"}, Names: []string{"new"}}},
		},
		"some for all, some for one": {
			allowed: []access.Action{on("get", "packages", ""), on("list", "packages", "mine")},
			want:    []registry.Permission{{Resource: "packages", Verbs: []string{"get"}}, {Resource: "packages", Verbs: []string{"list"}, Names: []string{"mine"}}},
		},
		"a backend": {
			allowed: []access.Action{on("list", "backends", ""), on("create", "sweeps", registrytest.First)},
			want:    []registry.Permission{{Resource: "backends", Verbs: []string{"list"}}, {Resource: "sweeps", Verbs: []string{"create"}, Names: []string{registrytest.First}}},
		},
		"a backend that may not be listed is not named": {allowed: []access.Action{on("create", "sweeps", registrytest.First)}, want: []registry.Permission{}},
	} {
		h.rights.set(false, test.allowed...)
		caller, err := h.guard.WhoAmI(h.ctx, test.producer)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if caller.Name != "somebody" || !caller.Authenticated || caller.Complete != test.complete || !reflect.DeepEqual(caller.Permissions, test.want) {
			t.Errorf("%s: got %+v, want %+v", name, caller, test.want)
		}
	}
	if _, err := h.guard.WhoAmI(context.Background(), ""); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("without an identity: %v", err)
	}
	if _, err := h.guard.WhoAmI(h.ctx, "a b"); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("about what is no producer: %v", err)
	}
	h.rights.set(true)
	if _, err := h.guard.WhoAmI(h.ctx, ""); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("while nobody can say: %v", err)
	}
}
