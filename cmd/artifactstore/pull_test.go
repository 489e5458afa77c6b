package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
)

func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{
		"con": true, "CON.txt": true, "com1": true, "com10": false, "nul .x": true, "console": false, "a:b": true, "a?": true,
		"back\\slash": true, "tab\t": true, "dot.": true, "space ": true, ".hidden": false, "a b": false, "ä": false, "lpt0": false, "COM²": true,
	} {
		if got := windowsName(name); (got != "") != refused {
			t.Errorf("%q on Windows: %q", name, got)
		}
	}
	bad := sameButForCase([]string{"A/x", "README", "a/y", "b/c/D", "b/c/d", "readme", "straße", "STRASSE", "ß/1", "ß/2"})
	for i, want := range []string{"a: ", "b/c/d: ", "readme: ", "STRASSE: "} {
		if len(bad) != 4 || !strings.HasPrefix(bad[i], want) {
			t.Fatalf("%q", bad)
		}
	}
	long := strings.Repeat("d/", 20) + "f"
	if bad := tooLong("/tmp", []string{"short", long}, 30); len(bad) != 1 || !strings.HasPrefix(bad[0], long) {
		t.Errorf("%q", bad)
	}
	if bad := tooLong("/tmp", []string{long}, 0); bad != nil {
		t.Errorf("without a limit: %q", bad)
	}
}

// pulledTree has what a pull of testTree made, and the registry that it came from.
func pulledTree(t *testing.T) (*memory, *app, *bytes.Buffer, string) {
	t.Helper()
	m := newMemory()
	a, out := appOn(t, m)
	if err := a.push(t.Context(), testPush(), []string{testTree(t)}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	return m, a, out, t.TempDir()
}

// TestPullGoesOn: what is there of a large file is used if it is right, and is never trusted.
func TestPullGoesOn(t *testing.T) {
	t.Parallel()
	m, a, _, into := pulledTree(t)
	var large []byte
	for _, blob := range m.blobs {
		if len(blob) > len(large) {
			large = blob
		}
	}
	name := digest.Of(large).SHA256.Hex()
	half := len(large) * 3 / 4
	for what, there := range map[string]struct {
		content []byte
		offset  int64 // that is asked for last
	}{
		"the beginning":          {large[:half], int64(half)},
		"all of it":              {large, 0},
		"other bytes":            {bytes.Repeat([]byte("x"), half), 0},
		"more than there is":     {append(bytes.Clone(large), 1), 0},
		"nothing, only the file": {nil, 0},
		"a wrong end of all":     {append(bytes.Clone(large[:len(large)-1]), 'y'), 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(into, what)
			if err := os.MkdirAll(filepath.Join(dir, stagingPrefix), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string][]byte{name: there.content, strings.Repeat("0", 64): large} {
				if err := os.WriteFile(filepath.Join(dir, stagingPrefix, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m.lastOffset = -1
			if err := a.pull(t.Context(), pullOptions{dir: dir, concurrency: 1}, testRef.String()); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "large")); err != nil || !bytes.Equal(got, large) {
				t.Errorf("large: %d bytes, %v", len(got), err)
			}
			if _, err := os.Lstat(filepath.Join(dir, stagingPrefix)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is left behind: %v", err)
			}
			if what == "the beginning" && m.lastOffset != there.offset {
				t.Errorf("asked for the bytes from %d, want %d", m.lastOffset, there.offset)
			}
		})
	}

	// A failed pull keeps what it has of the large file, and nothing else.
	dir := filepath.Join(into, "failing")
	m.onBlobReader = func(body io.Reader, size int) io.Reader {
		if size == len(large) {
			return io.MultiReader(io.LimitReader(body, int64(half)), failing{})
		}
		return body
	}
	err := a.pull(t.Context(), pullOptions{dir: dir, concurrency: 1}, testRef.String())
	if err == nil || !strings.Contains(err.Error(), "are kept in "+filepath.Join(dir, stagingPrefix)+": run the same command again to go on") {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, stagingPrefix, name)); err != nil || !bytes.Equal(kept, large[:half]) {
		t.Fatalf("kept %d bytes, %v", len(kept), err)
	}
	m.onBlobReader, m.lastOffset = nil, -1
	if err := a.pull(t.Context(), pullOptions{dir: dir, concurrency: 1}, testRef.String()); err != nil || m.lastOffset != int64(half) {
		t.Errorf("the second pull asked from %d: %v", m.lastOffset, err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the line broke") }

// TestPullTar: the archive is always the same, and one of wrong bytes breaks off.
func TestPullTar(t *testing.T) {
	t.Parallel()
	m, a, out, _ := pulledTree(t)
	a.output = formatTar
	pull := func() ([]byte, error) {
		out.Reset()
		err := a.pull(t.Context(), pullOptions{dir: ".", concurrency: 2}, testRef.String())
		return bytes.Clone(out.Bytes()), err
	}
	first, err := pull()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := pull(); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second archive differs: %v", err)
	}
	var names []string
	archive := tar.NewReader(bytes.NewReader(first))
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if wrong := (header.Mode == 0o755) != (header.Name == "a/run"); wrong || header.ModTime.Unix() != 0 || header.Uname != "" {
			t.Errorf("%+v", header)
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(names, []string{"a/b/small", "a/run", "empty", "large"}) {
		t.Errorf("%q", names)
	}

	// The last byte of the large file is wrong: everything before its end is there, and no end.
	m.onBlob = func(b []byte) []byte {
		if len(b) > smallFile {
			b[len(b)-1] ^= 1
		}
		return b
	}
	broken, err := pull()
	if exitCode(err) != exitIntegrity || !strings.Contains(err.Error(), "large: wrong content") || !strings.Contains(err.Error(), "breaks off there") {
		t.Fatal(err)
	}
	archive = tar.NewReader(bytes.NewReader(broken))
	for {
		if _, err = archive.Next(); err != nil {
			break
		}
		if _, err = io.Copy(io.Discard, archive); err != nil {
			break
		}
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader of the broken archive sees %v", err)
	}
}
