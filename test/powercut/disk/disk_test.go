package disk

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stored does to a folder what storing a blob does, but for the step that is left out: a
// hand-written trace in which a missing fsync is to be found.
func stored(root *Node, without string) {
	sync := func(what string, node *Node) {
		if what != without {
			node.BeginSync().End()
		}
	}
	staging, blobs, file := NewFolder(), NewFolder(), NewFile()
	root.Link("staging", staging).Made()
	root.Link("blobs", blobs).Made()
	sync("root", root)
	created := staging.Link("x", file)
	created.Made()
	file.Write(0, []byte("con"))
	file.Write(3, []byte("tent"))
	sync("file", file)
	given, taken := blobs.Link("blob", file), staging.Unlink("x")
	given.Made()
	taken.Made()
	sync("blobs", blobs)
}

func TestMissingSync(t *testing.T) {
	t.Parallel()
	for without, want := range map[string]State{
		"":      {"blobs/blob": []byte("content")},
		"root":  {},
		"file":  {"blobs/blob": nil},
		"blobs": {},
	} {
		root := NewFolder()
		stored(root, without)
		if got := root.Worst(); !same(got, want) {
			t.Errorf("without fsync of %q: %q, want %q", without, got, want)
		}
		if got := root.Whole(); !same(got, State{"blobs/blob": []byte("content")}) {
			t.Errorf("nothing is lost, and there is %q", got)
		}
		// Among enough torn states is the worst one, and the whole one.
		random, seen := rand.New(rand.NewPCG(1, 1)), map[string]bool{} //nolint:gosec // not for secrets
		for range 300 {
			seen[text(root.Torn(random))] = true
		}
		for _, state := range []State{root.Worst(), root.Whole()} {
			if !seen[text(state)] {
				t.Errorf("without fsync of %q: %s is not among %q", without, text(state), slices.Sorted(maps.Keys(seen)))
			}
		}
		if without == "" && len(seen) > 2 { // staging was not synced: the name x may be there, too
			t.Errorf("all was synced, and yet there may be %q", slices.Sorted(maps.Keys(seen)))
		}
	}
}

func same(a, b State) bool { return text(a) == text(b) }

func text(s State) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		b.WriteString(name + "=" + string(s[name]) + " ")
	}
	return b.String()
}

// TestOverlap: an fsync keeps what was done before it began, and nothing else.
func TestOverlap(t *testing.T) {
	t.Parallel()
	root, file := NewFolder(), NewFile()
	early := root.Link("early", file)
	early.Made()
	begun := root.Link("begun", file) // has not returned when the fsync begins
	file.Write(0, []byte("before"))
	names, bytes := root.BeginSync(), file.BeginSync()
	begun.Made()
	root.Link("late", file).Made()
	file.Write(6, []byte(" after"))
	if got := root.Worst(); !same(got, State{}) {
		t.Errorf("an fsync that has not returned keeps %q", got)
	}
	names.End()
	bytes.End()
	if got := root.Worst(); !same(got, State{"early": []byte("before")}) {
		t.Errorf("%q", got)
	}
	// Another one that began as early and returns later takes nothing back.
	root.BeginSync().End()
	file.BeginSync().End()
	names.End()
	bytes.End()
	if got, all := text(root.Worst()), "begun=before after early=before after late=before after "; got != all {
		t.Errorf("%q", got)
	}
}

// TestSeen: who makes a folder that another finds has made it, even if it does not know yet.
func TestSeen(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{false, true} {
		root := NewFolder()
		folder, file := NewFolder(), NewFile()
		root.Link("folder", folder)
		folder.Link("file", file).Made()
		folder.BeginSync().End()
		if seen {
			root.Seen("folder/file")
		}
		root.BeginSync().End()
		if _, kept := root.Worst()["folder/file"]; kept != seen {
			t.Errorf("seen %v, kept %v", seen, kept)
		}
	}
}

// TestTruncate: what was behind a new end does not come back.
func TestTruncate(t *testing.T) {
	t.Parallel()
	root, file := NewFolder(), NewFile()
	root.Link("file", file).Made()
	root.BeginSync().End()
	file.Write(0, []byte("secret"))
	file.BeginSync().End()
	file.Truncate(1)
	file.Write(3, []byte("x"))
	if got := text(root.Worst()); got != "file=secret " {
		t.Errorf("not synced: %q", got)
	}
	file.BeginSync().End()
	if got := text(root.Worst()); got != "file=s\x00\x00x " || file.Size() != 4 {
		t.Errorf("synced: %q, %d bytes", got, file.Size())
	}
}

// TestPages: each page of a torn file is as it was after one of its writes, with a
// beginning of the next one at most.
func TestPages(t *testing.T) {
	t.Parallel()
	const pages = 3
	root, file := NewFolder(), NewFile()
	root.Link("file", file).Made()
	root.BeginSync().End()
	fill := func(c byte) { file.Write(0, slices.Repeat([]byte{c}, pages*pageSize)) }
	fill('a')
	file.BeginSync().End()
	fill('b')
	fill('c')
	random, mixed, sectors := rand.New(rand.NewPCG(1, 2)), 0, 0 //nolint:gosec // not for secrets
	for range 300 {
		content := root.Torn(random)["file"]
		if len(content) != pages*pageSize {
			t.Fatalf("%d bytes", len(content))
		}
		firsts := map[byte]bool{}
		for page := range slices.Chunk(content, pageSize) {
			firsts[page[0]] = true
			for sector := range slices.Chunk(page, sectorSize) {
				if strings.Trim(string(sector), string(sector[:1])) != "" {
					t.Fatalf("a sector has bytes of two writes: %q", sector)
				}
				// Later bytes are at the beginning.
				if sector[0] > page[0] || page[0]-sector[0] > 1 {
					t.Fatalf("a page begins with %q and has %q", page[0], sector[0])
				}
				if sector[0] != page[0] {
					sectors++
				}
			}
		}
		if len(firsts) > 1 {
			mixed++
		}
	}
	if mixed == 0 || sectors == 0 {
		t.Errorf("%d files with pages of different age, %d torn sectors", mixed, sectors)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	want := State{"a": []byte("kept"), "b/c": []byte("lost")}
	if err := want.Write(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	root := NewFolder()
	if err := root.Load(folder, func(path string) bool { return path == "b/c" }); err != nil {
		t.Fatal(err)
	}
	if got := root.Whole(); !same(got, want) {
		t.Errorf("%q", got)
	}
	if got := root.Worst(); !same(got, State{"a": []byte("kept"), "b/c": nil}) {
		t.Errorf("%q", got)
	}
	if empty := root.Find("empty"); empty == nil || !empty.IsFolder() || root.Find("b") == nil || root.Find("b/x") != nil {
		t.Error("folders")
	}
}
