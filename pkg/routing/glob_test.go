package routing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/routing"
)

func TestGlobMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		glob routing.Glob
		name string
		want bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*", "a", true}, {"a*", "ba", false},
		{"a*c", "abcbc", true}, {"a*c", "abcb", false}, {"?", "", false}, {"?b", "ab", true}, {"*a*b*", "xxaxxbxx", true},
		{"*a*b*", "xxbxxaxx", false}, {"ci-*-eu", "ci-7-eu", true}, {"ci-*-eu", "ci-7-us", false}, {"a.b", "axb", false},
		{"[ab]", "a", false}, {"**", "x", true}, {"*?", "", false},
	} {
		if got := tt.glob.Match(tt.name); got != tt.want {
			t.Errorf("Glob(%q).Match(%q) = %v", tt.glob, tt.name, got)
		}
	}
}

// TestGlobRelations checks Covers and Overlaps against Match on every name up
// to four letters of a small alphabet, for every pair of patterns up to three.
func TestGlobRelations(t *testing.T) {
	t.Parallel()
	names, globs := words("ab", 4), words("ab*?", 3)
	matched := make([][]bool, len(globs))
	for i, g := range globs {
		for _, n := range names {
			matched[i] = append(matched[i], routing.Glob(g).Match(n))
		}
	}
	for i, a := range globs {
		for j, b := range globs {
			overlap, covered := false, true
			for n := range names {
				overlap = overlap || (matched[i][n] && matched[j][n])
				covered = covered && (matched[i][n] || !matched[j][n])
			}
			if got := routing.Glob(a).Overlaps(routing.Glob(b)); got != overlap {
				t.Errorf("%q overlaps %q: %v, want %v", a, b, got, overlap)
			}
			if routing.Glob(a).Covers(routing.Glob(b)) && !covered {
				t.Errorf("%q does not cover %q", a, b)
			}
		}
	}
}

// words lists every word over the letters of at most n of them.
func words(letters string, n int) []string {
	all, last := []string{""}, []string{""}
	for range n {
		var next []string
		for _, w := range last {
			for _, l := range letters {
				next = append(next, w+string(l))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func TestGlobsFullOfStarsAreQuick(t *testing.T) {
	t.Parallel()
	stars := routing.Glob(strings.Repeat("*a", 64))
	started := time.Now()
	if !stars.Covers(stars) || !stars.Overlaps(stars+"b*") || stars.Match(strings.Repeat("a", 128)+"b") {
		t.Error("a wrong answer")
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %v: steps multiply", took)
	}
}

func TestRuleRelations(t *testing.T) {
	t.Parallel()
	all := routing.Rule{}
	ci := routing.Rule{Producers: []string{"ci-*"}}
	ciEvidence := routing.Rule{Producers: []string{"ci-7", "ci-8"}, RetentionClasses: []string{"evidence"}}
	short := routing.Rule{RetentionClasses: []string{"short"}}
	star := routing.Rule{Producers: []string{"*"}}
	for _, tt := range []struct {
		name             string
		a, b             routing.Rule
		covers, overlaps bool
	}{
		{"default over all", all, ci, true, true},
		{"narrow under default", ci, all, false, true},
		{"a star is everything", star, all, true, true},
		{"pattern over names", ci, ciEvidence, true, true},
		{"names under pattern", ciEvidence, ci, false, true},
		{"crossing", ci, short, false, true},
		{"apart", ciEvidence, short, false, false},
	} {
		if got := tt.a.Covers(tt.b); got != tt.covers {
			t.Errorf("%s: Covers = %v", tt.name, got)
		}
		if got := tt.a.Overlaps(tt.b); got != tt.overlaps {
			t.Errorf("%s: Overlaps = %v", tt.name, got)
		}
	}
}
