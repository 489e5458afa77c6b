package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/glob"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// pathGlobs are patterns of paths (see package glob); it is a pflag.Value.
type pathGlobs []string

func (g *pathGlobs) String() string { return "" }
func (g *pathGlobs) Type() string   { return "glob" }

func (g *pathGlobs) Set(text string) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("must be UTF-8")
	case text == "":
		return fmt.Errorf("must not be empty")
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "./"):
		return fmt.Errorf("must begin as the paths of the package do, without %q", text[:strings.Index(text, "/")+1])
	case strings.HasSuffix(text, "/"):
		return fmt.Errorf("must not end in a slash: %q is everything in that folder", text+"**")
	}
	*g = append(*g, text)
	return nil
}

// selectFiles returns the files that a pattern matches, all without patterns. A pattern
// that matches nothing is a mistake.
func (g pathGlobs) selectFiles(files []manifest.File, from string) ([]manifest.File, error) {
	if len(g) == 0 {
		return files, nil
	}
	var selected []manifest.File
	used := make([]bool, len(g))
	for _, f := range files {
		matched := false
		for i, pattern := range g {
			if glob.MatchPath(pattern, f.Path) {
				used[i], matched = true, true
			}
		}
		if matched {
			selected = append(selected, f)
		}
	}
	for i, pattern := range g {
		if used[i] {
			continue
		}
		for _, f := range files {
			if strings.HasPrefix(f.Path, pattern+"/") {
				return nil, fmt.Errorf("--include: %q is a folder of %s: %q is everything in it", pattern, from, pattern+"/**")
			}
		}
		return nil, fmt.Errorf("--include: %q matches no file of %s", pattern, from)
	}
	return selected, nil
}

// selectRest returns the links and the folders that a pattern matches.
func (g pathGlobs) selectRest(m *manifest.Manifest) (links []manifest.Link, folders []manifest.Folder) {
	for _, l := range m.Links {
		if g.match(l.Path) {
			links = append(links, l)
		}
	}
	for _, f := range m.Folders {
		if g.match(f.Path) {
			folders = append(folders, f)
		}
	}
	return links, folders
}

func (g pathGlobs) match(path string) bool {
	return slices.ContainsFunc(g, func(pattern string) bool { return glob.MatchPath(pattern, path) })
}
