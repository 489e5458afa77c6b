package routing

import (
	"slices"
	"strings"
)

// Covers reports whether r takes every request that other would take, so that a
// rule other after r is never reached. It may miss a cover that combines two
// patterns, but a reported cover is always true.
func (r Rule) Covers(other Rule) bool {
	return covers(r.Producers, other.Producers, Glob.Covers) &&
		covers(r.RetentionClasses, other.RetentionClasses, sameName)
}

// Overlaps reports whether some request is matched by both rules.
func (r Rule) Overlaps(other Rule) bool {
	return overlaps(r.Producers, other.Producers, Glob.Overlaps) &&
		overlaps(r.RetentionClasses, other.RetentionClasses, sameName)
}

func sameName(a, b Glob) bool { return a == b }

// everything reports whether a list of patterns matches every name.
func everything(patterns []string) bool { return len(patterns) == 0 || slices.Contains(patterns, "*") }

func covers(mine, theirs []string, covers func(a, b Glob) bool) bool {
	if everything(mine) {
		return true
	}
	return !everything(theirs) && !slices.ContainsFunc(theirs, func(t string) bool {
		return !slices.ContainsFunc(mine, func(m string) bool { return covers(Glob(m), Glob(t)) })
	})
}

func overlaps(mine, theirs []string, overlap func(a, b Glob) bool) bool {
	if everything(mine) || everything(theirs) {
		return true
	}
	return slices.ContainsFunc(theirs, func(t string) bool {
		return slices.ContainsFunc(mine, func(m string) bool { return overlap(Glob(m), Glob(t)) })
	})
}

// Covers reports whether g matches every name that other matches. It may return
// false where only the alphabet of names makes it true; true is always right.
func (g Glob) Covers(other Glob) bool {
	// A cheap test that decides most pairs: the ends of g must be part of the ends of other.
	head, tail := g.ends()
	if first, last := other.ends(); !strings.HasPrefix(first, head) || !strings.HasSuffix(last, tail) {
		return false
	}
	return compare(g, other, func(i, j int, below func(i, j int) bool) bool {
		switch {
		case i == len(g):
			return j == len(other)
		case g[i] == '*':
			return below(i+1, j) || (j < len(other) && below(i, j+1))
		case j == len(other) || other[j] == '*':
			return false
		default:
			return (g[i] == '?' || g[i] == other[j]) && below(i+1, j+1)
		}
	})
}

// Overlaps reports whether some name is matched by both.
func (g Glob) Overlaps(other Glob) bool {
	if apart(g, other) {
		return false
	}
	return compare(g, other, func(i, j int, below func(i, j int) bool) bool {
		switch {
		case i == len(g) && j == len(other):
			return true
		case i < len(g) && g[i] == '*':
			return below(i+1, j) || (j < len(other) && below(i, j+1))
		case j < len(other) && other[j] == '*':
			return below(i, j+1) || (i < len(g) && below(i+1, j))
		case i == len(g) || j == len(other):
			return false
		default:
			return (g[i] == '?' || other[j] == '?' || g[i] == other[j]) && below(i+1, j+1)
		}
	})
}

// ends returns the letters before the first star or question mark, and those
// after the last; a pattern without either is both.
func (g Glob) ends() (head, tail string) {
	first, last := 0, len(g)
	for first < len(g) && g[first] != '*' && g[first] != '?' {
		first++
	}
	for last > first && g[last-1] != '*' && g[last-1] != '?' {
		last--
	}
	if first == len(g) {
		last = 0
	}
	return string(g[:first]), string(g[last:])
}

// apart reports whether the ends of two patterns prove that no name matches both.
func apart(a, b Glob) bool {
	first, last := a.ends()
	head, tail := b.ends()
	return !strings.HasPrefix(first, head) && !strings.HasPrefix(head, first) || !strings.HasSuffix(last, tail) && !strings.HasSuffix(tail, last)
}

// compare fills a table from the ends of two patterns to their beginnings, so that
// patterns with many stars take len(a)*len(b) steps, not exponentially many.
func compare(a, b Glob, step func(i, j int, below func(i, j int) bool) bool) bool {
	width := len(b) + 1
	table := make([]bool, (len(a)+1)*width)
	below := func(i, j int) bool { return table[i*width+j] }
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			table[i*width+j] = step(i, j, below)
		}
	}
	return table[0]
}
