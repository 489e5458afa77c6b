package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// A manifest that leads out of the target, or has something below a link, is refused as a
// whole: nothing is made.
func TestPullRefusesManifests(t *testing.T) {
	t.Parallel()
	good := manifest.Manifest{
		Producer: "p", Name: "n", Version: "v", Files: []manifest.File{{Path: "dir/file", Digests: digest.Of(nil)}},
		Links: []manifest.Link{{Path: "in", Target: "elsewhere/x"}}, Folders: []manifest.Folder{{Path: "empty/a"}},
	}
	encoded, err := manifest.Encode(&good)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a target outside":       {"elsewhere/x", "../../../..x"},
		"an absolute target":     {"elsewhere/x", "/etc/passwd"},
		"a folder below a link":  {"empty/a", "in/what"},
		"a link where a file is": {"bin", "bin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := change[0], change[1]
			if len(from) != len(to) {
				to = (to + strings.Repeat("x", len(from)))[:len(from)]
			}
			bad := bytes.Replace(encoded, []byte(from), []byte(to), 1)
			if name == "a link where a file is" {
				bad = bytes.Replace(encoded, []byte("hdir/file"), []byte("hin/filex"), 1)
			}
			if bytes.Equal(bad, encoded) {
				t.Fatal("nothing was changed")
			}
			m, into := newMemory(), filepath.Join(t.TempDir(), "into")
			m.published[testRef] = bad
			m.blobs[digest.Of(nil).SHA256] = nil
			a, _ := appOn(t, m)
			if err := a.pull(t.Context(), pullOptions{dir: into, concurrency: 1, force: true}, testRef.String()); exitCode(err) != exitIntegrity {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(into); !os.IsNotExist(err) {
				t.Errorf("something was made: %v", err)
			}
		})
	}
}

// What an earlier registry does not know is told as such.
func TestPushToAnEarlierRegistry(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(), testTree(t)
	if err := os.Symlink("run", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	a, _ := appOn(t, m)
	err := a.push(t.Context(), testPush(), []string{dir})
	if err == nil || !strings.Contains(err.Error(), "a registry of an earlier version records no links") {
		t.Errorf("got %v", err)
	}
	if len(m.published) > 0 {
		t.Error("it was published without the link")
	}
}

// Whatever was published before is the same if only links or empty folders are missing.
func TestWithout(t *testing.T) {
	t.Parallel()
	dir := testTree(t)
	tree := func() *localTree { return hashedTree(t, dir) }
	o := registry.OpenUpload{PackageRef: testRef}
	digestOf := func(links []manifest.Link, tr *localTree, folders bool) digest.Digest {
		encoded, err := manifest.Encode(manifestOf(o, tr, links, folders))
		if err != nil {
			t.Fatal(err)
		}
		return manifest.Digest(encoded)
	}
	bare := digestOf(nil, tree(), true)
	if err := os.MkdirAll(filepath.Join(dir, "only/links"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../empty", filepath.Join(dir, "only/links/here")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "hollow"), 0o755); err != nil {
		t.Fatal(err)
	}
	full := tree()
	for name, c := range map[string]struct {
		existing digest.Digest
		want     publishedWithout
	}{
		"neither":           {bare, publishedWithout{1, 1}},
		"links, no folders": {digestOf(full.links, full, false), publishedWithout{0, 1}},
		// Without the link its folder is empty.
		"folders, no links": {digestOf(nil, full, true), publishedWithout{1, 0}},
		"another":           {digest.Of(nil).SHA256, publishedWithout{}},
	} {
		encoded, lacks, err := without(c.existing, full, o)
		if err != nil || lacks != c.want || (encoded != nil) != (c.want != publishedWithout{}) {
			t.Errorf("%s: %+v, %v", name, lacks, err)
		}
	}
}
