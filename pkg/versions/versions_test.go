package versions_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coulomb/artifact-store/pkg/versions"
)

// ordered is the order that people mean.
var ordered = []string{
	"3f2a1b9", "20251128T1", "20261128T1", "alpha", "build-9", "build-10", "latest", "nightly-2026-9-1", "nightly-2026-10-1",
	"0", "0.0.1", "v0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
	"1", "1.0", "1.0.0", "1.0.0+build", "1.0.1", "1.9", "1.9.1", "1.10.0-0", "1.10", "1.10.0.1", "2.0.0-rc1", "2.0.0-rc1.1", "2.0.0", "10.0", "v11", "2026.9.30", "2026.11.28", "20261128",
}

func TestOrder(t *testing.T) {
	t.Parallel()
	shuffled := slices.Clone(ordered)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	slices.SortFunc(shuffled, versions.Compare)
	for i, version := range shuffled {
		if version != ordered[i] {
			t.Fatalf("at %d: %q, expected %q; all: %q", i, version, ordered[i], shuffled)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]versions.Kind{
		"1": versions.Release, "v1.2": versions.Release, "1.2.3+b": versions.Release, "1.2-rc": versions.PreRelease, "1.0.0--": versions.PreRelease,
		"": versions.Other, "v": versions.Other, "a": versions.Other, "1.": versions.Other, "1..2": versions.Other, "1.a": versions.Other, "1-": versions.Other, "1-a..b": versions.Other,
		"1+": versions.Other, "x1.2": versions.Other, "oci-3f": versions.Other,
	} {
		if got := versions.KindOf(version); got != want {
			t.Errorf("the kind of %q is %d, expected %d", version, got, want)
		}
	}
}

func FuzzCompare(f *testing.F) {
	for i, version := range ordered {
		f.Add(version, ordered[(i+1)%len(ordered)], ordered[(i+7)%len(ordered)])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if len(a)+len(b)+len(c) > 600 || max(len(a), len(b), len(c)) > 250 {
			return
		}
		if versions.Compare(a, b) != -versions.Compare(b, a) || (versions.Compare(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q: %d, %d", a, b, versions.Compare(a, b), versions.Compare(b, a))
		}
		if versions.Compare(a, b) < 0 && versions.Compare(b, c) < 0 && versions.Compare(a, c) >= 0 {
			t.Errorf("%q < %q < %q, but not the first before the last", a, b, c)
		}
	})
}
