package routing

import "strings"

// Glob is a pattern for a name: "*" stands for any run of characters, also
// none, "?" for exactly one byte, and every other byte for itself. Names are ASCII.
type Glob string

// Match reports whether the pattern describes the whole of name. It needs no
// memory and at most len(g)*len(name) steps.
func (g Glob) Match(name string) bool {
	p, n := 0, 0
	star, resume := -1, 0 // the last "*" and where in name it is to take one byte more
	for n < len(name) {
		switch {
		case p < len(g) && g[p] == '*':
			star, resume = p, n
			p++
		case p < len(g) && (g[p] == '?' || g[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	for p < len(g) && g[p] == '*' {
		p++
	}
	return p == len(g)
}

// matcher is a list of patterns made quick; an empty one matches everything.
type matcher struct {
	all   bool
	exact map[string]struct{}
	globs []Glob
}

func newMatcher(patterns []string, globs bool) matcher {
	m := matcher{all: len(patterns) == 0, exact: map[string]struct{}{}}
	for _, p := range patterns {
		switch {
		case globs && p == "*":
			m.all = true
		case globs && strings.ContainsAny(p, "*?"):
			m.globs = append(m.globs, Glob(p))
		default:
			m.exact[p] = struct{}{}
		}
	}
	return m
}

func (m *matcher) matches(value string) bool {
	if m.all {
		return true
	}
	if _, ok := m.exact[value]; ok {
		return true
	}
	for _, g := range m.globs {
		if g.Match(value) {
			return true
		}
	}
	return false
}
