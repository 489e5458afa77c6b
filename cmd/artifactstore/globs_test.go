package main

import (
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/manifest"
)

func TestPathGlobs(t *testing.T) {
	t.Parallel()
	paths := []string{"README", "a.txt", "docs/a.txt", "docs/b/c.txt", "docs/b/d.md", "src/docs/e.txt", "x[1].txt", "ä.txt"}
	for _, test := range []struct{ glob, want string }{
		{"*", "README a.txt x[1].txt ä.txt"},
		{"*.txt", "a.txt x[1].txt ä.txt"},
		{"?.txt", "a.txt ä.txt"},
		{"**", strings.Join(paths, " ")},
		{"**/*.txt", "a.txt docs/a.txt docs/b/c.txt src/docs/e.txt x[1].txt ä.txt"},
		{"docs/*", "docs/a.txt"},
		{"docs/**", "docs/a.txt docs/b/c.txt docs/b/d.md"},
		{"docs/**/*.txt", "docs/a.txt docs/b/c.txt"},
		{"**/docs/**", "docs/a.txt docs/b/c.txt docs/b/d.md src/docs/e.txt"},
		{"d**md", "docs/b/d.md"},
		{"x[1].txt", "x[1].txt"},
		{"docs/a.txt", "docs/a.txt"},
	} {
		var globs pathGlobs
		if err := globs.Set(test.glob); err != nil {
			t.Fatal(err)
		}
		var files []manifest.File
		for _, p := range paths {
			files = append(files, manifest.File{Path: p})
		}
		selected, err := globs.selectFiles(files, "p/n@v")
		var got []string
		for _, f := range selected {
			got = append(got, f.Path)
		}
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, %v; want %q", test.glob, got, err, test.want)
		}
	}
	for glob, want := range map[string]string{"": "empty", "/a": "without", "./a": "without", "a/": `"a/**"`, "\xff": "UTF-8"} {
		var globs pathGlobs
		if err := globs.Set(glob); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", glob, err)
		}
	}
	var globs pathGlobs
	_ = globs.Set("docs")
	if _, err := globs.selectFiles([]manifest.File{{Path: "docs/a"}}, "p/n@v"); err == nil || !strings.Contains(err.Error(), `"docs/**" is everything in it`) {
		t.Errorf("a folder: %v", err)
	}
	globs = nil
	_ = globs.Set("nothing*")
	if _, err := globs.selectFiles([]manifest.File{{Path: "docs/a"}}, "p/n@v"); err == nil || !strings.Contains(err.Error(), "matches no file of p/n@v") {
		t.Errorf("no match: %v", err)
	}
}
