package access_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

// TestListsDamageThatMayBeListed: without a right to all, it is that of the producers
// that the caller may list.
func TestListsDamageThatMayBeListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 120 {
		push(t, h.fixture.Registry, pkg(fmt.Sprintf("p%03d", i)), "x")
	}
	ref := pkg("p119")
	ref.Version = "2"
	push(t, h.fixture.Registry, ref, "x", "common")
	h.fixture.Remove(t, h.common.SHA256)
	if _, err := h.fixture.Registry.VerifyBackend(h.ctx, registrytest.First, registry.VerifyOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	h.fixture.Remove(t, content("x").Digests.SHA256)
	if _, err := h.fixture.Registry.VerifyBackend(h.ctx, registrytest.First, registry.VerifyOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	listed := func(limit int) (files []string) {
		filter := registry.DamageFilter{Limit: limit}
		for {
			page, err := h.guard.ListDamaged(h.ctx, filter)
			if err != nil || limit > 0 && len(page.Damaged) > limit {
				t.Fatalf("%d files, %v", len(page.Damaged), err)
			}
			for _, d := range page.Damaged {
				files = append(files, d.PackageRef.String()+" "+d.Path)
			}
			if filter.After = page.Next; page.Next == "" {
				return files
			}
		}
	}
	list := func(names ...string) (actions []access.Action) {
		for _, name := range names {
			actions = append(actions, access.Action{Verb: access.List, Resource: access.Packages, Name: name})
		}
		return actions
	}
	last := []string{"p119/n@1 f0", "p119/n@2 f0", "p119/n@2 f1"}
	for _, c := range []struct {
		rights []access.Action
		want   []string
	}{
		{list(), nil},
		{list("mine"), []string{"mine/n@1 f0"}},
		{list("p119", "theirs"), append(slices.Clone(last), "theirs/n@1 f0")},
	} {
		h.rights.set(false, c.rights...)
		for _, limit := range []int{0, 1, 2, 3} {
			if got := listed(limit); !slices.Equal(got, c.want) {
				t.Errorf("with %v, %d in a page: %q, want %q", c.rights, limit, got, c.want)
			}
		}
	}
	h.rights.set(false, list("")...)
	if got := listed(0); len(got) != 2+120+2 {
		t.Errorf("with a right to all: %q", got)
	}
	// A listing goes on where it was, also for one who may list all meanwhile.
	h.rights.set(false, list("p119")...)
	page, err := h.guard.ListDamaged(h.ctx, registry.DamageFilter{Limit: 1})
	for err == nil && len(page.Damaged) == 0 {
		page, err = h.guard.ListDamaged(h.ctx, registry.DamageFilter{Limit: 1, After: page.Next})
	}
	if err != nil {
		t.Fatal(err)
	}
	h.rights.set(false, list("", "p119", "theirs")...)
	if rest, err := h.guard.ListDamaged(h.ctx, registry.DamageFilter{After: page.Next}); err != nil || len(rest.Damaged) != 3 || rest.Damaged[0].Version != "2" {
		t.Errorf("%+v, %v", rest, err)
	}
	if _, err := h.fixture.Registry.ListDamaged(h.ctx, registry.DamageFilter{After: page.Next}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("a registry without a guard: %v", err)
	}
	h.rights.set(true, list("p000")...)
	if _, err := h.guard.ListDamaged(h.ctx, registry.DamageFilter{}); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("while nobody can say: %v", err)
	}
}
