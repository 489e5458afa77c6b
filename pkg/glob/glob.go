// Package glob has the one rule by which patterns match names, wherever the registry takes
// a pattern: of producers, of package names, of paths.
//
//   - any run of bytes within one component, also none
//     **   any run of bytes, across components
//     ?    one byte within a component
//
// Components are parted by "/". A pattern that is "*" alone matches every name. Every other
// byte stands for itself: there is no escape.
package glob

import "strings"

// Match reports whether the pattern matches the whole name. It allocates nothing, and takes
// at most len(pattern)*len(name)^2 steps.
func Match(pattern, name string) bool {
	if pattern == "*" {
		return true
	}
	p, n := 0, 0
	// Behind the last star of each kind, and how far it reaches in name. A single star that
	// comes before a double one needs no second try: the double one takes what it would.
	single, double := -1, -1
	reach, far := 0, 0
	for n < len(name) {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			for p < len(pattern) && pattern[p] == '*' {
				p++
			}
			double, far, single = p, n, -1
		case p < len(pattern) && pattern[p] == '*':
			p++
			single, reach = p, n
		case p < len(pattern) && (pattern[p] == name[n] || pattern[p] == '?' && name[n] != '/'):
			p++
			n++
		case single >= 0 && name[reach] != '/':
			reach++
			p, n = single, reach
		case double >= 0:
			far++
			p, n, single = double, far, -1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
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
