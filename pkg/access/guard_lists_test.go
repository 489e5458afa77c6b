package access_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// TestStrangerLearnsNothing compares what is there with what is not.
func TestStrangerLearnsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	nothing := digest.Of([]byte("was never stored"))
	const noSession = "11111111-1111-4111-8111-111111111111"
	for _, away := range []bool{false, true} {
		h.rights.set(away, access.Action{Verb: access.Get, Resource: access.Packages, Name: "theirs"})
		same := func(what string, there, missing error) {
			t.Helper()
			if there == nil || missing == nil || there.Error() != missing.Error() {
				t.Errorf("%s (nobody can say: %v): of what is there %v, of what is not %v", what, away, there, missing)
			}
		}
		_, there := h.guard.HeadBlob(h.ctx, h.onlyMine.SHA256)
		_, missing := h.guard.HeadBlob(h.ctx, nothing.SHA256)
		same("a blob", there, missing)
		_, there = h.guard.HeadBlob(h.ctx, h.onlyMine.BLAKE3)
		_, missing = h.guard.HeadBlob(h.ctx, nothing.BLAKE3)
		same("a blob by BLAKE3", there, missing)
		hinted := registry.WithHolder(h.ctx, "mine")
		_, there = h.guard.HeadBlob(hinted, h.onlyMine.SHA256)
		_, missing = h.guard.HeadBlob(hinted, nothing.SHA256)
		same("a blob with a hint", there, missing)
		_, there = h.guard.GetManifest(h.ctx, h.mine.ManifestDigest)
		_, missing = h.guard.GetManifest(h.ctx, nothing.SHA256)
		same("a manifest", there, missing)
		_, there = h.guard.FindUses(h.ctx, h.onlyMine.SHA256, registry.UseQuery{})
		_, missing = h.guard.FindUses(h.ctx, nothing.SHA256, registry.UseQuery{})
		same("who has a blob", there, missing)
		_, there = h.guard.FindUses(h.ctx, h.onlyMine.SHA256, registry.UseQuery{Producer: "mine"})
		_, missing = h.guard.FindUses(h.ctx, nothing.SHA256, registry.UseQuery{Producer: "mine"})
		same("whether a producer has a blob", there, missing)
		forged := registry.UseCursor(registry.Use{PackageRef: registry.PackageRef{Producer: "a", Name: "a", Version: "1"}, Position: 1, Path: "a"})
		for _, query := range []registry.UseQuery{{After: forged}, {Producer: "theirs", After: forged}} {
			_, there = h.guard.FindUses(h.ctx, h.onlyMine.SHA256, query)
			_, missing = h.guard.FindUses(h.ctx, nothing.SHA256, query)
			same("who has a blob, with a cursor that was made up", there, missing)
		}
		_, there = h.guard.ListFiles(h.ctx, pkg("mine"), registry.FileQuery{})
		_, missing = h.guard.ListFiles(h.ctx, registry.PackageRef{Producer: "mine", Name: "no", Version: "no"}, registry.FileQuery{})
		same("the files of a package", there, missing)
		_, there = h.guard.GetPackage(h.ctx, pkg("mine"))
		ref := pkg("mine")
		ref.Version = "no-such"
		_, missing = h.guard.GetPackage(h.ctx, ref)
		same("a package", there, missing)
		_, there = asError(h.guard.WhoAmI(h.ctx, "mine"))
		_, missing = asError(h.guard.WhoAmI(h.ctx, "no-such"))
		same("what may be done", there, missing)
		if !away {
			_, there = h.guard.GetUpload(h.ctx, h.session)
			_, missing = h.guard.GetUpload(h.ctx, noSession)
			same("a session", there, missing)
			if there, missing := h.guard.AbandonUpload(h.ctx, h.session), h.guard.AbandonUpload(h.ctx, noSession); there != nil || missing != nil {
				t.Errorf("abandoning: %v, %v", there, missing)
			}
		}
		// What both have is told of what he may read alone.
		if found, err := h.guard.FindUses(h.ctx, h.common.SHA256, registry.UseQuery{}); !away {
			if err != nil || len(found.Uses) != 1 || found.Uses[0].Producer != "theirs" || len(found.Locations) != 0 {
				t.Errorf("who has a common blob: %+v, %v", found, err)
			}
		}
		// What both have is to be had by what he may read.
		if _, err := h.guard.HeadBlob(h.ctx, h.common.SHA256); err != nil {
			t.Errorf("a blob that theirs has as well: %v", err)
		}
		if _, err := h.guard.GetManifest(h.ctx, h.theirs.ManifestDigest); err != nil {
			t.Errorf("theirs' manifest: %v", err)
		}
	}
	if _, err := h.fixture.Registry.GetUpload(h.ctx, h.session); err != nil {
		t.Errorf("a stranger has ended the session: %v", err)
	}
	h.fixture.Advance(registry.UploadLifetime)
	h.rights.set(false)
	if _, err := h.guard.GetUpload(h.ctx, h.session); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a session that has expired: %v", err)
	}
	h.rights.set(false, access.Action{Verb: access.Create, Resource: access.Packages, Name: "mine"})
	if _, err := h.guard.GetUpload(h.ctx, h.session); !errors.Is(err, registry.ErrExpired) {
		t.Errorf("to whom it belongs: %v", err)
	}
	if err := h.guard.AbandonUpload(h.ctx, h.session); err != nil {
		t.Error(err)
	}
}

// TestListsWhatMayBeListed pages through many producers, of which few may be seen.
func TestListsWhatMayBeListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var all []string
	for i := range 120 {
		producer := fmt.Sprintf("p%03d", i)
		push(t, h.fixture.Registry, pkg(producer), "x")
		all = append(all, producer)
	}
	ref := pkg("p119")
	for _, ref.Version = range []string{"2", "3", "4"} {
		push(t, h.fixture.Registry, ref, "x")
	}
	listed := func(limit int) (producers []string, pages int) {
		filter := registry.PackageFilter{Limit: limit}
		for pages = 1; ; pages++ {
			page, err := h.guard.ListPackages(h.ctx, filter)
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 && len(page.Packages) > limit {
				t.Fatalf("a page of %d packages, at most %d were asked for", len(page.Packages), limit)
			}
			for _, p := range page.Packages {
				producers = append(producers, p.Producer)
			}
			if page.Next == "" {
				return producers, pages
			}
			filter.After = page.Next
		}
	}
	list := func(names ...string) (actions []access.Action) {
		for _, name := range names {
			actions = append(actions, access.Action{Verb: access.List, Resource: access.Packages, Name: name})
		}
		return actions
	}
	for _, c := range []struct {
		rights []access.Action
		limit  int
		want   []string
		pages  int
	}{
		{list(), 0, nil, 2},
		{list("p119"), 0, []string{"p119", "p119", "p119", "p119"}, 2},
		{list("p119"), 2, []string{"p119", "p119", "p119", "p119"}, 4},
		{list("p000", "p001", "p119"), 1, []string{"p000", "p001", "p119", "p119", "p119", "p119"}, 0},
		{list("mine", "p003", "theirs"), 0, []string{"mine", "p003", "theirs"}, 2},
		{list(""), 0, slices.Concat([]string{"mine"}, all, []string{"p119", "p119", "p119", "theirs"}), 2},
	} {
		h.rights.set(false, c.rights...)
		got, pages := listed(c.limit)
		if !slices.Equal(got, c.want) || c.pages != 0 && pages != c.pages {
			t.Errorf("with %v, %d in a page: %d pages of %q, want %d of %q", c.rights, c.limit, pages, got, c.pages, c.want)
		}
	}
	// While nobody can say, a list that leaves out would look as if packages were gone.
	h.rights.set(true, list("p000")...)
	if _, err := h.guard.ListPackages(h.ctx, registry.PackageFilter{}); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("while nobody can say: %v", err)
	}
	h.rights.set(false)
	for _, filter := range []registry.PackageFilter{{Limit: -1}, {Limit: registry.MaxPackagePage + 1}, {After: "x"}, {Producer: "/"}} {
		if _, err := h.guard.ListPackages(h.ctx, filter); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%+v: %v", filter, err)
		}
	}
}

// TestBoundedQuestions: a blob that everybody has costs a stranger's request no more than a bound.
func TestBoundedQuestions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 50 {
		push(t, h.fixture.Registry, pkg(fmt.Sprintf("p%03d", i)), "common")
	}
	h.rights.set(false)
	h.rights.asked = nil
	if _, err := h.guard.HeadBlob(h.ctx, h.common.SHA256); !errors.Is(err, registry.ErrNotFound) {
		t.Fatal(err)
	}
	if n := len(h.rights.asked); n > 40 {
		t.Errorf("%d questions for one blob", n)
	}
	// Whoever says whose package it is of is answered by that alone.
	h.rights.set(false, access.Action{Verb: access.Get, Resource: access.Packages, Name: "p049"})
	h.rights.asked = nil
	if _, err := h.guard.HeadBlob(registry.WithHolder(h.ctx, "p049"), h.common.SHA256); err != nil || len(h.rights.asked) != 1 {
		t.Errorf("%v after %d questions", err, len(h.rights.asked))
	}
}

// TestStreamEndsWithTheRight: what was allowed when a stream began is asked for again.
func TestStreamEndsWithTheRight(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.rights.set(false, access.Action{Verb: access.Get, Resource: access.Events})
	seen := 0
	err := h.guard.FollowEvents(h.ctx, registry.EventQuery{}, func(registry.Event) error {
		seen++
		h.rights.set(false)
		return nil
	})
	if !errors.Is(err, access.ErrForbidden) || seen != 1 {
		t.Errorf("%d events, then %v", seen, err)
	}
}
