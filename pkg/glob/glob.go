// Package glob has the one rule by which patterns match names and paths, wherever the
// registry takes a pattern.
//
//   - "*" is any run of characters within one component, also none
//   - "**" is any run of characters across components; "**/" in place of components is also
//     none of them
//   - "?" is one character within a component
//
// Components are parted by "/". Every other character stands for itself: there is no escape.
package glob

import (
	"strings"
	"unicode/utf8"
)

// Match reports whether the pattern matches the whole name. A pattern that is "*" alone
// matches every name.
func Match(pattern, name string) bool { return pattern == "*" || MatchPath(pattern, name) }

// MatchPath is Match of a path: "*" alone matches those of one component. It allocates
// nothing, and takes at most len(pattern)*len(path)^2 steps.
func MatchPath(pattern, path string) bool {
	p, n := 0, 0
	// Behind the last star of each kind, and how far it reaches in path. A single star that
	// comes before a double one needs no second try: the double one takes what it would.
	single, double := -1, -1
	reach, far := 0, 0
	whole := false // the double star stands for whole components
	for n < len(path) {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			p, whole = afterDouble(pattern, p)
			double, far, single = p, n, -1
		case p < len(pattern) && pattern[p] == '*':
			p++
			single, reach = p, n
		case p < len(pattern) && pattern[p] == path[n]:
			p++
			n++
		case p < len(pattern) && pattern[p] == '?' && path[n] != '/':
			_, size := utf8.DecodeRuneInString(path[n:])
			p, n = p+1, n+size
		case single >= 0 && path[reach] != '/':
			reach++
			p, n = single, reach
		case double >= 0:
			if whole {
				end := strings.IndexByte(path[far:], '/')
				if end < 0 {
					return false
				}
				far += end
			}
			far++
			p, n, single = double, far, -1
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' { // none of anything
		if p++; strings.HasPrefix(pattern[p-1:], "**") {
			p, _ = afterDouble(pattern, p-1)
		}
	}
	return p == len(pattern)
}

// afterDouble returns where the pattern goes on behind a double star, and whether that
// stands for whole components, whose slash is then behind it as well.
func afterDouble(pattern string, p int) (after int, whole bool) {
	first := p == 0 || pattern[p-1] == '/'
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	if first && p < len(pattern) && pattern[p] == '/' {
		return p + 1, true
	}
	return p, false
}

// Is reports whether the text has a wildcard.
func Is(text string) bool { return strings.ContainsAny(text, "*?") }

// Head returns what every name begins with that the pattern matches.
func Head(pattern string) string {
	if at := strings.IndexAny(pattern, "*?"); at >= 0 {
		return pattern[:at]
	}
	return pattern
}
