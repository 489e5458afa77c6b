package routing_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// linear is the reference: the first rule that matches in a walk over all rules.
func linear(rules []routing.Rule, req placement.Request) *routing.Rule {
	for i, r := range rules {
		producer := len(r.Producers) == 0 || slices.ContainsFunc(r.Producers, func(p string) bool { return routing.Glob(p).Match(req.Producer) })
		if producer && (len(r.RetentionClasses) == 0 || slices.Contains(r.RetentionClasses, req.RetentionClass)) {
			return &rules[i]
		}
	}
	return nil
}

// TestIndexFindsTheFirstRule compares the table with a walk over all rules, on
// random lists of rules over a small alphabet.
func TestIndexFindsTheFirstRule(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	word := func(letters string, most int) string {
		text := make([]byte, 1+random.IntN(most))
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		return string(text)
	}
	list := func(letters string) (all []string) {
		for range random.IntN(4) {
			all = append(all, word(letters, 5))
		}
		return all
	}
	found, none := 0, 0
	for range 400 {
		var rules []routing.Rule
		for i := range 1 + random.IntN(40) {
			rules = append(rules, routing.Rule{Policy: "p", Index: i, Producers: list("aab*?"), RetentionClasses: list("xy"), Backends: []string{"good"}})
			if len(rules[i].Producers) == 0 && random.IntN(4) > 0 {
				rules[i].Producers = []string{word("ab*?", 40)} // few rules match every producer
			}
		}
		table := routing.New()
		table.Swap(routing.Snapshot{Backends: []placement.Backend{ready("good")}, Rules: rules})
		for range 50 {
			req := placement.Request{Producer: word("ab", 40), RetentionClass: word("xy", 2)}
			got, want := table.Explain(req), linear(rules, req)
			switch {
			case want == nil && got.Backend == "":
				none++
			case want != nil && got.Backend != "" && got.Rule == want.Index:
				found++
			default:
				t.Fatalf("%+v: rule %d (%s), want %+v of %+v", req, got.Rule, got.Reason, want, rules)
			}
		}
	}
	if found < 1000 || none < 1000 {
		t.Errorf("%d requests matched and %d did not: the rules are not of use", found, none)
	}
}

// many is a table of 100 policies of 20 rules over 500 backends: names, globs
// with a team's prefix or suffix, and classes. The requests match the first rule,
// the last, the catch-all at the end, and a name.
func many() (routing.Snapshot, []placement.Request) {
	var s routing.Snapshot
	for i := range 500 {
		s.Backends = append(s.Backends, ready(fmt.Sprintf("backend-%03d", i)))
	}
	for p := range 100 {
		for r := range 20 {
			rule := routing.Rule{Policy: fmt.Sprintf("policy-%02d", p), Index: r, RetentionClasses: []string{"evidence", "release"}}
			switch r % 4 {
			case 0:
				rule.Producers = []string{fmt.Sprintf("team-%02d-%02d-*", p, r)}
			case 1:
				rule.Producers = []string{fmt.Sprintf("*-lab-%02d-%02d", p, r), fmt.Sprintf("lab-%02d-?-%02d", p, r)}
			case 2:
				rule.Producers = []string{fmt.Sprintf("ci-%02d-%02d", p, r), fmt.Sprintf("cd-%02d-%02d", p, r)}
			default:
				rule.Producers, rule.RetentionClasses = []string{fmt.Sprintf("team-%02d-*", p)}, []string{fmt.Sprintf("class-%02d", r)}
			}
			for b := range 3 {
				rule.Backends = append(rule.Backends, fmt.Sprintf("backend-%03d", (p*20+r+b*7)%500))
			}
			s.Rules = append(s.Rules, rule)
		}
	}
	s.Rules[len(s.Rules)-1].Producers, s.Rules[len(s.Rules)-1].RetentionClasses = nil, nil
	return s, []placement.Request{
		{Producer: "team-00-00-app", RetentionClass: "evidence"},
		{Producer: "team-99-app", RetentionClass: "class-15"},
		{Producer: "somebody-whom-no-rule-names", RetentionClass: "short"},
		{Producer: "ci-42-10", RetentionClass: "release"},
		{Producer: "eu-lab-77-13", RetentionClass: "release"},
	}
}

func TestPlaceDoesNotAllocate(t *testing.T) { // not parallel: AllocsPerRun counts the whole process
	s, requests := many()
	table := routing.New()
	table.Swap(s)
	for _, req := range requests {
		if want := linear(s.Rules, req); want == nil || table.Explain(req).Rule != want.Index || table.Explain(req).Policy != want.Policy {
			t.Fatalf("%+v: %+v, want %+v", req, table.Explain(req), want)
		}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := table.Place(req); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%+v: Place allocates %v times", req, n)
		}
	}
}

// TestSwapBlocksNobody: while tables are swapped continuously, each decision uses
// exactly one table, and many decisions are made for each swap.
func TestSwapBlocksNobody(t *testing.T) {
	t.Parallel()
	s, requests := many()
	// In the other table every backend has another id and every second rule is gone.
	other := routing.Snapshot{Backends: slices.Clone(s.Backends)}
	for i := range other.Backends {
		other.Backends[i].ID = "other-" + other.Backends[i].Name
	}
	for i, rule := range s.Rules {
		if i%2 == 1 {
			other.Rules = append(other.Rules, rule)
		}
	}
	table := routing.New()
	table.Swap(s)
	wants := map[string]bool{}
	for _, snapshot := range []routing.Snapshot{s, other} {
		table.Swap(snapshot)
		for i, req := range requests {
			b, err := table.Place(req)
			if err != nil && !errors.Is(err, placement.ErrNoReadyBackend) {
				t.Fatal(err)
			}
			wants[fmt.Sprint(i, b.ID)] = true
		}
	}
	if len(wants) != 2*len(requests) {
		t.Fatalf("the two tables are alike: %v", wants)
	}
	var swaps, placed atomic.Int64
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				table.Swap(other)
				table.Swap(s)
				swaps.Add(2)
			}
		}
	})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for swaps.Load() < 40 {
				for i, req := range requests {
					b, err := table.Place(req)
					if err != nil || !wants[fmt.Sprint(i, b.ID)] {
						t.Errorf("%+v: %s, %v", req, b.ID, err)
						return
					}
					placed.Add(1)
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	running.Wait()
	if placed.Load() < swaps.Load() {
		t.Errorf("%d placements in %d swaps", placed.Load(), swaps.Load())
	}
}
