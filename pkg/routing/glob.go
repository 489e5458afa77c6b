package routing

// Glob is a pattern for a name: "*" stands for any run of characters, including
// none, "?" for exactly one byte, and every other byte for itself. Names are ASCII.
type Glob string

// Match reports whether the pattern matches the whole name. It allocates nothing
// and takes at most len(g)*len(name) steps.
func (g Glob) Match(name string) bool {
	p, n := 0, 0
	star, resume := -1, 0 // the last "*", and the position in name from which it is tried one byte longer
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
