// Package selection decides which entries of a tree are left out of a package: by globs,
// and by ignore files in the syntax of gitignore(5).
//
// One rule for globs: "*" and "?" stay within a component of a path, "**" as a component
// stands for any number of them. "?" is a character; for git it is a byte.
//
// Whoever asks walks the tree from its root and does not ask about what is below a folder
// that is left out: nothing below it can be taken back.
package selection

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	// IgnoreFile is the name of an ignore file, in any folder.
	IgnoreFile = ".artifactstoreignore"
	// MaxIgnoreFile in bytes.
	MaxIgnoreFile = 1 << 20
)

// Glob is one pattern that is matched against whole paths.
type Glob struct {
	text, pattern string
	onlyFolders   bool
}

// ParseGlob reads a pattern. A slash at its end means folders only, and one at its
// beginning nothing: it is matched from the root in any case.
func ParseGlob(text string) (Glob, error) {
	g := Glob{text: text}
	g.pattern, g.onlyFolders = strings.CutSuffix(strings.TrimPrefix(text, "/"), "/")
	if g.pattern == "" {
		return g, fmt.Errorf("%q matches nothing", text)
	}
	var err error
	if g.pattern, err = translate(g.pattern); err != nil {
		err = fmt.Errorf("%q %w", text, err)
	}
	return g, err
}

func (g Glob) String() string { return g.text }

// Match reports whether the glob means the path.
func (g Glob) Match(path string, folder bool) bool {
	return (folder || !g.onlyFolders) && doublestar.MatchUnvalidated(g.pattern, path)
}

// translate makes a pattern of doublestar's of one of gitignore's, which has no
// alternatives in braces, and in which "a/**" is what is in a, but not a.
func translate(pattern string) (string, error) {
	if strings.Contains(pattern, "[[:") {
		return "", errors.New("has a class such as [[:alpha:]], which is not supported: list the characters")
	}
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			out.WriteByte(c)
			if i++; i < len(pattern) {
				out.WriteByte(pattern[i])
			}
		case '{', '}':
			out.WriteByte('\\')
			out.WriteByte(c)
		default:
			out.WriteByte(c)
		}
	}
	translated := out.String()
	if strings.HasSuffix(translated, "/**") {
		translated += "/*"
	}
	if !doublestar.ValidatePattern(translated) {
		return "", errors.New("is not a valid pattern")
	}
	return translated, nil
}

// rule is one line of an ignore file.
type rule struct {
	glob   Glob
	negate bool
	line   int
}

// Ignored is the ignore files of one tree. Its zero value has none.
type Ignored struct {
	rules map[string][]rule // by the folder of the file, "" is the root
}

// Add reads the ignore file of a folder, "" for the root. The error names the line.
func (ig *Ignored) Add(folder string, content []byte) error {
	var rules []rule
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, MaxIgnoreFile+1)
	for number := 1; lines.Scan(); number++ {
		r, meant, err := parseRule(lines.Text())
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if meant {
			r.line = number
			rules = append(rules, r)
		}
	}
	if ig.rules == nil {
		ig.rules = make(map[string][]rule)
	}
	ig.rules[folder] = rules
	return lines.Err()
}

// parseRule reads a line; most of what it decides is about slashes and spaces.
func parseRule(line string) (r rule, meant bool, err error) {
	text := trimSpaces(strings.TrimPrefix(line, "\xef\xbb\xbf"))
	if text == "" || text[0] == '#' {
		return r, false, nil
	}
	pattern, negate := strings.CutPrefix(text, "!")
	pattern, onlyFolders := strings.CutSuffix(pattern, "/")
	switch {
	case strings.HasPrefix(pattern, "/"):
		pattern = pattern[1:]
	case !strings.Contains(pattern, "/"):
		pattern = "**/" + pattern // in any folder
	}
	if pattern == "" || pattern == "**/" {
		return r, false, fmt.Errorf("%q matches nothing", text)
	}
	r.negate, r.glob = negate, Glob{text: text, onlyFolders: onlyFolders}
	if r.glob.pattern, err = translate(pattern); err != nil {
		return r, false, fmt.Errorf("%q %w", text, err)
	}
	return r, true, nil
}

// trimSpaces removes spaces at the end, unless a backslash is before the last that is left.
func trimSpaces(line string) string {
	line = strings.TrimSuffix(line, "\r")
	trimmed := strings.TrimRight(line, " ")
	if len(trimmed) < len(line) && strings.HasSuffix(trimmed, `\`) && !strings.HasSuffix(trimmed, `\\`) {
		return trimmed + " "
	}
	return trimmed
}

// Find returns what the ignore files say of a path: where it is said ("" if nowhere), and
// whether it is that the path is to be kept. The deepest file counts first, and of a file
// the last line.
func (ig *Ignored) Find(path string, folder bool) (where string, kept bool) {
	for base := path; base != "" && len(ig.rules) > 0; {
		at := max(0, strings.LastIndexByte(base, '/'))
		base = base[:at]
		rules := ig.rules[base]
		below := strings.TrimPrefix(path[len(base):], "/")
		for i := len(rules) - 1; i >= 0; i-- {
			if r := rules[i]; r.glob.Match(below, folder) {
				file := IgnoreFile
				if base != "" {
					file = base + "/" + file
				}
				return fmt.Sprintf("%s:%d", file, r.line), r.negate
			}
		}
	}
	return "", false
}
