package routing_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// place is a Store that is never called: a table only returns it.
type place struct{ storage.Store }

func ready(name string) placement.Backend {
	return placement.Backend{Name: name, ID: "id-" + name, Driver: "s3", Ready: true, Store: place{}}
}

func with(b placement.Backend, change func(*placement.Backend)) placement.Backend {
	change(&b)
	return b
}

func TestPlaceAndExplain(t *testing.T) {
	t.Parallel()
	broken := with(ready("broken"), func(b *placement.Backend) { b.Ready, b.Reason, b.Message = false, "BucketMissing", "no bucket x" })
	readOnly := with(ready("archive"), func(b *placement.Backend) { b.ReadOnly = true })
	unopened := with(ready("unopened"), func(b *placement.Backend) { b.Store = nil })
	rules := []routing.Rule{
		{Policy: "p", Index: 0, Producers: []string{"ci-*", "lab"}, RetentionClasses: []string{"evidence"}, Backends: []string{"broken", "archive", "gone", "unopened", "good", "spare"}},
		{Policy: "p", Index: 1, Producers: []string{"ci-*"}, Backends: []string{"broken"}},
		{Policy: "q", Index: 0, RetentionClasses: []string{"short"}, Backends: []string{"spare"}},
	}
	backends := []placement.Backend{ready("spare"), broken, readOnly, unopened, ready("good")}
	tests := []struct {
		name     string
		snapshot routing.Snapshot
		req      placement.Request
		want     placement.Explanation
		err      error
	}{
		{
			"every reason, in order of preference", routing.Snapshot{Backends: backends, Rules: rules},
			placement.Request{Producer: "ci-7", RetentionClass: "evidence"},
			placement.Explanation{Policy: "p", Backend: "good", BackendID: "id-good", Considered: []placement.Considered{
				{Backend: "broken", Reason: "not ready: BucketMissing: no bucket x"},
				{Backend: "archive", Reason: "declared ReadOnly"},
				{Backend: "gone", Reason: "the backend is not declared"},
				{Backend: "unopened", Reason: "not ready: this replica could not open it"},
				{Backend: "good", Taken: true, Reason: "the first ready backend of the rule"},
				{Backend: "spare", Reason: `usable, but "good" takes precedence`},
			}, Reason: `rules[0] of policy "p" selects "good"`}, nil,
		},
		{
			"the first match is final though another rule could take it", routing.Snapshot{Backends: backends, Rules: rules},
			placement.Request{Producer: "ci-7", RetentionClass: "short"},
			placement.Explanation{Policy: "p", Rule: 1, Considered: []placement.Considered{
				{Backend: "broken", Reason: "not ready: BucketMissing: no bucket x"},
			}, Reason: `rules[1] of policy "p" matches, but none of its 1 backends is usable; "broken": not ready: BucketMissing: no bucket x`},
			placement.ErrNoReadyBackend,
		},
		{
			"a rule without producers", routing.Snapshot{Backends: backends, Rules: rules},
			placement.Request{Producer: "lab", RetentionClass: "short"},
			placement.Explanation{Policy: "q", Backend: "spare", BackendID: "id-spare", Considered: []placement.Considered{
				{Backend: "spare", Taken: true, Reason: "the first ready backend of the rule"},
			}, Reason: `rules[0] of policy "q" selects "spare"`}, nil,
		},
		{
			"no rule matches", routing.Snapshot{Backends: backends, Rules: rules},
			placement.Request{Producer: "lab", RetentionClass: "long"},
			placement.Explanation{Considered: []placement.Considered{}, Reason: `none of the 3 rules matches producer "lab" with retention class "long"`},
			placement.ErrNoRule,
		},
		{
			"no policy, one backend", routing.Snapshot{Backends: []placement.Backend{ready("only")}},
			placement.Request{Producer: "a", RetentionClass: "b"},
			placement.Explanation{Backend: "only", BackendID: "id-only", Considered: []placement.Considered{
				{Backend: "only", Taken: true, Reason: "the first ready backend of the rule"},
			}, Reason: `the implicit rule (no policy, one backend) selects "only"`}, nil,
		},
		{
			"no policy, two backends", routing.Snapshot{Backends: []placement.Backend{ready("a"), ready("b")}},
			placement.Request{Producer: "a", RetentionClass: "b"},
			placement.Explanation{Considered: []placement.Considered{}, Reason: "2 backends are declared, but no policy selects one"},
			placement.ErrNoRule,
		},
		{
			"nothing declared", routing.Snapshot{}, placement.Request{Producer: "a", RetentionClass: "b"},
			placement.Explanation{Considered: []placement.Considered{}, Reason: "no backend is declared"},
			placement.ErrNoRule,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := routing.New()
			table.Swap(tt.snapshot)
			tt.want.Request = tt.req
			if diff := cmp.Diff(tt.want, table.Explain(tt.req)); diff != "" {
				t.Errorf("Explain (-want +got):\n%s", diff)
			}
			got, err := table.Place(tt.req)
			if !errors.Is(err, tt.err) || got.Name != tt.want.Backend {
				t.Errorf("Place = %q, %v; want %q, %v", got.Name, err, tt.want.Backend, tt.err)
			}
			var notReady *placement.NotReadyError
			if errors.As(err, &notReady) && !cmp.Equal(notReady.Explanation, tt.want) {
				t.Errorf("the error explains %+v", notReady.Explanation)
			}
		})
	}
}

func TestNotLoaded(t *testing.T) {
	t.Parallel()
	table := routing.New()
	if table.Loaded() {
		t.Error("a new table says it is loaded")
	}
	if _, err := table.Place(placement.Request{}); !errors.Is(err, placement.ErrNoReadyBackend) {
		t.Errorf("Place before Swap: %v", err)
	}
	if _, err := table.Open("x"); !errors.Is(err, placement.ErrUnknownBackend) {
		t.Errorf("Open before Swap: %v", err)
	}
	table.Swap(routing.Snapshot{})
	if !table.Loaded() {
		t.Error("an empty snapshot is loaded too")
	}
}

func TestOpenIgnoresPolicy(t *testing.T) {
	t.Parallel()
	table := routing.New()
	closed := with(ready("a"), func(b *placement.Backend) { b.ID, b.Store = "same", nil })
	unread := with(ready("new"), func(b *placement.Backend) { b.ID = "" })
	table.Swap(routing.Snapshot{
		Backends: []placement.Backend{closed, with(ready("b"), func(b *placement.Backend) { b.ID, b.Ready = "same", false }), unread},
		Rules:    []routing.Rule{{Policy: "p", Backends: []string{"new"}}},
	})
	if b, err := table.Open("same"); err != nil || b.Name != "b" {
		t.Errorf("Open = %q, %v; want b, the one with a store", b.Name, err)
	}
	if _, err := table.Open(""); !errors.Is(err, placement.ErrUnknownBackend) {
		t.Errorf("the empty id opened something: %v", err)
	}
	names := []string{}
	for _, b := range table.Backends() {
		names = append(names, b.Name)
	}
	if diff := cmp.Diff([]string{"a", "b", "new"}, names); diff != "" {
		t.Error(diff)
	}
}
