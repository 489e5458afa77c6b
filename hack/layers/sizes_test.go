package layers

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		folder       string
		files, lines int    // lines of each file
		want         string // part of the only violation; "" for none
	}{
		"as many files as may be":        {"pkg/digest", maxFiles, 1, ""},
		"a file too many":                {"pkg/digest", maxFiles + 1, 1, "pkg/digest has 17 files and 17 lines"},
		"as many lines as may be":        {"pkg/digest", 10, maxLines / 10, ""},
		"too many lines":                 {"pkg/digest", 10, maxLines/10 + 1, "pkg/digest has 10 files and 2510 lines"},
		"an exception":                   {"cmd/artifactstore", maxFiles + 1, 1, ""},
		"programs around are held to it": {"hack/x", maxFiles + 1, 1, "hack/x has 17 files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := fstest.MapFS{test.folder + "/x_test.go": {Data: []byte(strings.Repeat("\n", maxLines+1))}} // is not counted
			for i := range test.files {
				tree[fmt.Sprintf("%s/f%02d.go", test.folder, i)] = &fstest.MapFile{Data: []byte("package p" + strings.Repeat("\n", test.lines))}
			}
			violations, _, err := Check(tree)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" && len(violations) > 0 || test.want != "" && (len(violations) != 1 || !strings.Contains(violations[0], test.want)) {
				t.Errorf("found %q, want %q", violations, test.want)
			}
		})
	}
}

// Every exception is needed.
func TestLarge(t *testing.T) {
	t.Parallel()
	c, err := read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for folder, why := range large {
		if why == "" || !c.sizes[folder].tooLarge() {
			t.Errorf("%s (%q) has %+v: delete the exception", folder, why, c.sizes[folder])
		}
	}
}
