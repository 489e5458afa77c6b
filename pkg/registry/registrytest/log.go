package registrytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

var logCases = []testCase{
	{"pages of packages", packagePages},
	{"pages of events", eventPages},
	{"follow", follow},
	{"explain", explain},
	{"backends", backends},
	{"who am I", whoAmI},
}

func packagePages(s suite) {
	var want []string
	for _, v := range []string{"1", "2", "3", "4", "5"} {
		s.push(version(v), file{"a", "a", false})
		want = append(want, version(v).PackageRef.String())
	}
	var got []string
	filter := registry.PackageFilter{Producer: "ci", Name: "tool", RetentionClass: "release", Limit: 2}
	for pages := 1; ; pages++ {
		page, err := s.r.ListPackages(s.ctx, filter)
		s.must(err)
		for _, p := range page.Packages {
			got = append(got, p.String())
		}
		if filter.After = page.Next; page.Next == "" {
			equal(s, "pages", pages, 3)
			break
		}
	}
	equal(s, "packages", fmt.Sprint(got), fmt.Sprint(want))
	for _, filter := range []registry.PackageFilter{{Producer: "other"}, {Name: "other"}, {RetentionClass: "other"}} {
		page, err := s.r.ListPackages(s.ctx, filter)
		s.must(err)
		equal(s, "matches", len(page.Packages), 0)
	}
}

func eventPages(s suite) {
	published := s.push(version("1"), file{"a", "a", false})
	head, err := s.r.LogHead(s.ctx)
	s.must(err)
	all, err := s.r.ReadEvents(s.ctx, registry.EventQuery{})
	s.must(err)
	equal(s, "events", uint64(len(all.Events)), head.Position)
	equal(s, "log", all.LogID, head.LogID)
	var previous digest.Digest
	for i, event := range all.Events {
		equal(s, "position", event.Position, uint64(i+1))
		if i > 0 {
			equal(s, "chain", event.Previous, previous)
		}
		if previous = event.Hash; previous.IsZero() || !json.Valid(event.Payload) || event.Time.IsZero() || event.Actor == "" {
			s.Fatalf("%+v is not complete", event)
		}
	}
	last := all.Events[len(all.Events)-1]
	equal(s, "kind", last.Kind, "v1.package.published")
	equal(s, "position", last.Position, published.Position)
	one, err := s.r.ReadEvents(s.ctx, registry.EventQuery{After: head.Position - 1, Limit: 1})
	s.must(err)
	equal(s, "one", len(one.Events), 1)
	equal(s, "hash", one.Events[0].Hash, last.Hash)
	none, err := s.r.ReadEvents(s.ctx, registry.EventQuery{After: head.Position})
	s.must(err)
	equal(s, "behind the head", len(none.Events), 0)
}

func follow(s suite) {
	s.push(version("1"), file{"a", "a", false})
	start := s.head()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	events, done := make(chan registry.Event, 100), make(chan error, 1)
	go func() {
		done <- s.r.FollowEvents(ctx, registry.EventQuery{After: start - 1}, func(event registry.Event) error { events <- event; return nil })
	}()
	next := func() registry.Event {
		s.Helper()
		select {
		case event := <-events:
			return event
		case err := <-done:
			s.Fatalf("ended with %v", err)
		case <-s.ctx.Done():
			s.Fatal("no event came")
		}
		panic("unreachable")
	}
	equal(s, "an old event", next().Position, start)
	for _, v := range []string{"2", "3"} {
		published := s.push(version(v), file{"a", v, false})
		event := next()
		equal(s, "position", event.Position, published.Position)
		equal(s, "kind", event.Kind, "v1.package.published")
	}
	cancel()
	s.is(<-done, context.Canceled)

	enough := errors.New("enough")
	seen := 0
	s.is(s.r.FollowEvents(s.ctx, registry.EventQuery{}, func(registry.Event) error { seen++; return enough }), enough)
	equal(s, "events before enough", seen, 1)
}

func explain(s suite) {
	got, err := s.r.Explain(s.ctx, placement.Request{Producer: "ci", RetentionClass: "release"})
	s.must(err)
	equal(s, "backend", got.Backend, First)
	equal(s, "rule", got.Rule, 1)
	got, err = s.r.Explain(s.ctx, placement.Request{Producer: "ci", RetentionClass: SecondClass})
	s.must(err)
	equal(s, "backend", got.Backend, Second)
	equal(s, "policy", got.Policy, "test")
	s.SetReady(false)
	got, err = s.r.Explain(s.ctx, placement.Request{Producer: "ci", RetentionClass: "release"})
	s.must(err)
	if got.Backend != "" || got.Reason == "" || len(got.Considered) != 1 || got.Considered[0].Taken {
		s.Fatalf("got %+v, want no backend and the reason", got)
	}
}

func backends(s suite) {
	all, err := s.r.ListBackends(s.ctx)
	s.must(err)
	equal(s, "backends", len(all), 2)
	for i, name := range []string{First, Second} {
		equal(s, "name", all[i].Name, name)
		equal(s, "verified", all[i].Verified, "Unknown")
		byID, err := s.r.GetBackend(s.ctx, all[i].ID)
		s.must(err)
		equal(s, "by id", byID.Name, name)
	}
	s.push(version("1"), file{"a", "a", false})
	got, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	equal(s, "live locations", got.Findings.Live, 2) // the file and the manifest
	health, err := s.r.Health(s.ctx)
	s.must(err)
	equal(s, "health", health.Status, registry.HealthOK)
	equal(s, "position", health.Log.Position, s.head())
	equal(s, "backends", len(health.Backends), 2)
}

func whoAmI(s suite) {
	for _, producer := range []string{"", "ci", "nobody"} {
		caller, err := s.r.WhoAmI(s.ctx, producer)
		s.must(err)
		if caller.Name == "" || caller.Groups == nil || len(caller.Permissions) == 0 || !caller.Complete {
			s.Errorf("asked about %q: %+v", producer, caller)
		}
	}
	for _, odd := range []string{"a b", "../a", "*"} {
		_, err := s.r.WhoAmI(s.ctx, odd)
		s.invalid(err, "producer")
	}
}
