package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

var testRef = registry.PackageRef{Producer: "p", Name: "n", Version: "v"}

func testPush() pushOptions {
	return pushOptions{OpenUpload: registry.OpenUpload{PackageRef: testRef, RetentionClass: "c"}, tier: "hot", concurrency: 4}
}

// testTree makes a folder with an empty, a small, an executable and a large file.
func testTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range map[string][]byte{
		"empty": {}, "a/b/small": []byte("small"), "a/run": []byte("#!/bin/sh\n"),
		"large": bytes.Repeat([]byte("0123456789abcdef"), smallFile/8),
	} {
		name := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "a/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPush(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(), testTree(t)
	a, out := appOn(t, m)
	if err := a.push(t.Context(), testPush(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	var first pushed
	if err := json.Unmarshal(out.Bytes(), &first); err != nil {
		t.Fatal(err)
	}
	if first.SentFiles != 4 || first.ReusedFiles != 0 || first.SentBytes != first.Bytes || first.Position != 7 {
		t.Errorf("the first push printed %+v", first)
	}
	if slices.Sort(m.received); !slices.Equal(m.received, []string{"a/b/small", "a/run", "empty", "large"}) {
		t.Errorf("received %q", m.received)
	}
	if !m.declared["a/run"].Executable || m.declared["large"].Executable {
		t.Error("the executable bit was not declared as it is")
	}

	// The second push sends only the one new file.
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.received = nil
	out.Reset()
	if err := a.push(t.Context(), testPush(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	var second pushed
	if err := json.Unmarshal(out.Bytes(), &second); err != nil {
		t.Fatal(err)
	}
	if second.SentFiles != 1 || second.SentBytes != 3 || second.ReusedFiles != 4 || second.ReusedBytes != first.Bytes || !slices.Equal(m.received, []string{"new"}) {
		t.Errorf("the second push printed %+v and sent %q", second, m.received)
	}
	if m.abandoned != 0 {
		t.Error("a session that was published was abandoned")
	}
}

// Every failure after the session is open abandons the session.
func TestPushFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		break_ func(m *memory, dir string)
		want   string
		code   int
	}{
		"small file is answered with another digest": {func(m *memory, _ string) {
			m.onPublish = func(p *registry.Publication) { p.ManifestDigest = digest.Of(nil).SHA256 }
		}, "the registry published manifest", exitIntegrity},
		"large file grew": {func(m *memory, dir string) {
			m.onPut = func(path string) {
				if path == "large" {
					_ = appendByte(filepath.Join(dir, path))
				}
			}
		}, "large: changed while it was being read", exitFailed},
		"large file was cut": {func(m *memory, dir string) {
			m.onPut = func(path string) {
				if path == "large" {
					_ = os.Truncate(filepath.Join(dir, path), smallFile)
				}
			}
		}, "large: changed while it was being read", exitFailed},
		"registry asks for what was not declared": {func(m *memory, _ string) {
			m.onDeclare = func(d *registry.Declared) { d.Send = append(d.Send, "../../etc/passwd") }
		}, `asks for "../../etc/passwd", which was not declared`, exitFailed},
		"registry forgets to ask": {func(m *memory, _ string) {
			m.onDeclare = func(d *registry.Declared) { d.Send = nil }
		}, "declared files are missing", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, dir := newMemory(), testTree(t)
			test.break_(m, dir)
			a, out := appOn(t, m)
			err := a.push(t.Context(), testPush(), []string{dir})
			if err == nil || !strings.Contains(err.Error(), test.want) || exitCode(err) != test.code {
				t.Errorf("got %v (exit code %d), want %q (%d)", err, exitCode(err), test.want, test.code)
			}
			if m.abandoned != 1 || out.Len() > 0 {
				t.Errorf("abandoned %d times, printed %q", m.abandoned, out)
			}
		})
	}
}

// A file that changes after it was read into memory is sent as it was hashed.
func TestPushSmallFileChangesLater(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(), testTree(t)
	m.onDeclare = func(*registry.Declared) { _ = appendByte(filepath.Join(dir, "a/b/small")) }
	a, _ := appOn(t, m)
	if err := a.push(t.Context(), testPush(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	if got := m.blobs[digest.Of([]byte("small")).SHA256]; string(got) != "small" {
		t.Errorf("stored %q", got)
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	m, dir := newMemory(), testTree(t)
	a, out := appOn(t, m)
	if err := a.push(t.Context(), testPush(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(t.TempDir(), "made", "on demand")
	pull := func(o pullOptions) (pulled, error) {
		out.Reset()
		o.dir, o.concurrency = into, 4
		err := a.pull(t.Context(), o, testRef.String())
		var result pulled
		if err == nil {
			err = json.Unmarshal(out.Bytes(), &result)
		}
		return result, err
	}
	if result, err := pull(pullOptions{}); err != nil || result.FetchedFiles != 4 || result.FetchedBytes != result.Bytes {
		t.Fatalf("%+v, %v", result, err)
	}
	sameTree(t, dir, into)

	// A second pull keeps everything and restores a lost executable bit.
	if err := os.Chmod(filepath.Join(into, "a/run"), 0o644); err != nil {
		t.Fatal(err)
	}
	if result, err := pull(pullOptions{}); err != nil || result.FetchedFiles != 0 || result.KeptFiles != 4 {
		t.Fatalf("%+v, %v", result, err)
	}
	sameTree(t, dir, into)

	// A file that differs is refused before anything is fetched, and overwritten with force.
	if err := os.WriteFile(filepath.Join(into, "a/b/small"), []byte("SMALL"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(into, "empty")); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(pullOptions{}); err == nil || !strings.Contains(err.Error(), "a/b/small: exists and differs from the package") || exitCode(err) != exitFailed {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(into, "empty")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was fetched although another was refused")
	}
	if result, err := pull(pullOptions{force: true}); err != nil || result.FetchedFiles != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	sameTree(t, dir, into)
}

// A link in the folder must not lead the pull out of it.
func TestPullStaysInside(t *testing.T) {
	t.Parallel()
	m, dir, outside, into := newMemory(), testTree(t), t.TempDir(), t.TempDir()
	a, _ := appOn(t, m)
	if err := a.push(t.Context(), testPush(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(into, "a")); err != nil {
		t.Fatal(err)
	}
	if err := a.pull(t.Context(), pullOptions{dir: into, concurrency: 1, force: true}, testRef.String()); err == nil {
		t.Error("pulled through a link that leads outside")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside the folder: %v, %v", entries, err)
	}
}

func TestPullFindsDamage(t *testing.T) {
	t.Parallel()
	flip := func(b []byte) []byte {
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return b
	}
	for name, test := range map[string]struct {
		damage func(m *memory)
		want   string
		code   int
	}{
		"a bit":        {func(m *memory) { m.onBlob = flip }, "wrong content from the registry: declared sha256:", exitIntegrity},
		"too short":    {func(m *memory) { m.onBlob = func(b []byte) []byte { return b[:len(b)/2] } }, "bytes, got", exitIntegrity},
		"too long":     {func(m *memory) { m.onBlob = func(b []byte) []byte { return append(b, 0) } }, "bytes, got", exitIntegrity},
		"the manifest": {func(m *memory) { m.onRead = flip }, "manifest of p/n@v: expected sha256:", exitIntegrity},
		"another manifest": {func(m *memory) {
			bad := []byte{0xa0} // an empty map: canonical, but not a manifest
			m.onRead = func([]byte) []byte { return bad }
			m.announce = func(digest.Digest) digest.Digest { return digest.Of(bad).SHA256 }
		}, "manifest of p/n@v: manifest", exitIntegrity},
		"no blob": {func(m *memory) { m.blobs = nil }, "not found", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, into := newMemory(), t.TempDir()
			a, _ := appOn(t, m)
			if err := a.push(t.Context(), testPush(), []string{testTree(t)}); err != nil {
				t.Fatal(err)
			}
			test.damage(m)
			err := a.pull(t.Context(), pullOptions{dir: into, concurrency: 1}, testRef.String())
			if err == nil || !strings.Contains(err.Error(), test.want) || exitCode(err) != test.code {
				t.Errorf("got %v (exit code %d), want %q (%d)", err, exitCode(err), test.want, test.code)
			}
			// Nothing has a final name, and nothing is left behind.
			if entries, err := os.ReadDir(into); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

// sameTree compares paths, bytes and executable bits.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	wanted, found := hashedTree(t, want), hashedTree(t, got)
	same := slices.EqualFunc(wanted.files, found.files, func(a, b localFile) bool { return a.manifestFile() == b.manifestFile() })
	if !same {
		t.Errorf("the trees differ:\n%+v\n%+v", wanted.files, found.files)
	}
}

func hashedTree(t *testing.T, dir string) *localTree {
	t.Helper()
	tree, err := collect([]string{dir}, walkOptions{}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := hashFiles(t.Context(), tree.files, 0, &meter{}); err != nil {
		t.Fatal(err)
	}
	return tree
}
