package glob_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/glob"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "a", true}, {"*", "a/b", true}, {"", "", true}, {"", "a", false},
		{"a", "a", true}, {"a", "b", false}, {"a*", "abc", true}, {"a*", "a/b", false}, {"a**", "a/b", true},
		{"team/*", "team/app", true}, {"team/*", "team/sub/app", false}, {"team/**", "team/sub/app", true}, {"team/**", "team", false},
		{"**/app", "team/sub/app", true}, {"**/app", "app", true}, {"**/app", "myapp", false}, {"a/**/b", "a/b", true}, {"a/**/b", "a/x/y/b", true}, {"a/**/b", "a/xb", false}, {"a**/b", "a/b", true}, {"a**/b", "ab", false}, {"?", "ä", true}, {"*/app", "team/sub/app", false}, {"team/*/app", "team/sub/app", true},
		{"a?c", "abc", true}, {"a?c", "a/c", false}, {"?", "", false}, {"***", "a/b", true}, {"*.*", "a.b", true}, {"*.*", "a/.b", false},
		{"*a*b", "xa/ab", false}, {"**a*b", "xa/ab", true}, {"k8s.io/*", "k8s.io/api", true}, {"[a]", "a", false}, {"[a]", "[a]", true},
	} {
		if got := glob.Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) is %t", c.pattern, c.name, got)
		}
	}
}

// TestAgainstRegexp compares with the same rule as a regular expression, over all short
// patterns and names.
func TestAgainstRegexp(t *testing.T) {
	t.Parallel()
	names := words("ab/", 4)
	for _, pattern := range words("a/*?", 5) {
		rule := regexp.MustCompile("^(?s:" + strings.NewReplacer("**", ".*", "*", "[^/]*", "?", "[^/]", "!", "(?:.*/)?").Replace(components.ReplaceAllString(joined(pattern), "$1!")) + ")$")
		for _, name := range names {
			want := rule.MatchString(name)
			if got := glob.MatchPath(pattern, name); got != want {
				t.Fatalf("Match(%q, %q) is %t, %s says %t", pattern, name, got, rule, want)
			}
		}
	}
}

// components is a double star in place of components.
var components = regexp.MustCompile(`(^|/)\*\*/`)

// joined makes runs of three stars and more double ones.
func joined(pattern string) string {
	for strings.Contains(pattern, "***") {
		pattern = strings.ReplaceAll(pattern, "***", "**")
	}
	return pattern
}

// words are all words of an alphabet up to a length.
func words(alphabet string, most int) []string {
	all := []string{""}
	for from := 0; most > 0; most-- {
		to := len(all)
		for _, word := range all[from:to] {
			for _, letter := range alphabet {
				all = append(all, word+string(letter))
			}
		}
		from = to
	}
	return all
}

func TestHead(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{"": "", "a": "a", "a*": "a", "*a": "", "a/b?": "a/b", "a/**/b": "a/"} {
		if got := glob.Head(pattern); got != want || glob.Is(pattern) != (want != pattern) {
			t.Errorf("the head of %q is %q", pattern, got)
		}
	}
}
