package local_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/srv/blobs": "",
		"":           "path: must not be empty",
		"relative":   "path: ",
		"/a/../b":    "path: ",
		"/a/":        "path: ",
		"/":          "path: ",
		"/a\x00b":    "path: must not contain NUL",
		"/a//b":      "path: ",
		"./a":        "path: ",
	} {
		err := local.Config{Path: path}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(folder, "not", "there")
	for name, config := range map[string]local.Config{
		"missing":            {Path: missing},
		"a file":             {Path: file},
		"create under file":  {Path: filepath.Join(file, "below"), Create: true},
		"probe of a missing": local.Config{Path: missing}.ForProbe(),
	} {
		_, err := local.Open(t.Context(), config, buffer.Default())
		if !errors.Is(err, storage.ErrNoPlace) || storage.ReasonOf(err) != storage.ReasonFolderNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("a folder was made that was to be there: %v", err)
	}
	b, err := local.Open(t.Context(), local.Config{Path: missing, Create: true}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	put(t, b, []byte("created"))
}

func put(t *testing.T, b storage.Store, data []byte) digest.Digest {
	t.Helper()
	info, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize})
	if err != nil {
		t.Fatal(err)
	}
	return info.Digests.SHA256
}

func TestForProbe(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	b, err := local.Open(t.Context(), local.Config{Path: path}.ForProbe(), buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	name := put(t, b, []byte("probe"))
	want := storage.ProbePrefix + "/" + storage.Key(name)
	if found := files(t, path); len(found) != 1 || found[0] != want {
		t.Errorf("the probe wrote %q", found)
	}
	if err := b.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestHealthOfAnotherFolder: an unmounted volume leaves a folder of the same name
// behind.
func TestHealthOfAnotherFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "volume")
	b, err := local.Open(t.Context(), local.Config{Path: path, Create: true}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := os.Rename(path, path+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := b.Health(t.Context()); !errors.Is(err, storage.ErrNoPlace) {
		t.Errorf("without a folder: %v", err)
	}
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := b.Health(t.Context()); !errors.Is(err, storage.ErrNoPlace) {
		t.Errorf("with another folder: %v", err)
	}
}

// TestLinksDoNotLeadOut puts symbolic links in place of folders and blobs.
func TestLinksDoNotLeadOut(t *testing.T) {
	t.Parallel()
	data := []byte("bytes")
	name := digest.Of(data).SHA256
	key := filepath.FromSlash(storage.Key(name))
	for _, at := range []string{"sha256", filepath.Dir(filepath.Dir(key)), filepath.Dir(key)} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			path, outside := t.TempDir(), t.TempDir()
			b := open(t, path)
			defer b.Close()
			link := filepath.Join(path, at)
			if err := os.MkdirAll(filepath.Dir(link), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, link); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize}); err == nil {
				t.Error("Put went through the link")
			}
			if found := files(t, outside); len(found) > 0 {
				t.Errorf("written outside: %q", found)
			}
		})
	}
	t.Run("a blob", func(t *testing.T) {
		t.Parallel()
		path := t.TempDir()
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, path)
		defer b.Close()
		if err := os.MkdirAll(filepath.Join(path, filepath.Dir(key)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(secret, filepath.Join(path, key)); err != nil {
			t.Fatal(err)
		}
		if r, _, err := b.Get(t.Context(), name, nil); err == nil {
			r.Close()
			t.Error("Get went through the link")
		}
		if _, err := b.Head(t.Context(), name); err == nil {
			t.Error("Head went through the link")
		}
		for info := range b.List(t.Context()) {
			t.Errorf("listed %v", info)
		}
		// A Put replaces the link; the link's target is unchanged.
		put(t, b, data)
		if kept, err := os.ReadFile(secret); err != nil || string(kept) != "secret" {
			t.Errorf("outside: %q, %v", kept, err)
		}
	})
}

func TestLeftovers(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	open(t, path).Close()
	staging := filepath.Join(path, filepath.FromSlash(storage.StagingPrefix))
	for name, age := range map[string]time.Duration{"crashed": 25 * time.Hour, "running": time.Hour} {
		file := filepath.Join(staging, name)
		if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, path)
	defer b.Close()
	for info, err := range b.List(t.Context()) {
		t.Errorf("listed %v, %v", info, err)
	}
	if left := files(t, path); len(left) != 1 || filepath.Base(left[0]) != "running" {
		t.Errorf("left: %q", left)
	}
}

// TestFoldersRemoved: someone removes empty folders that the backend remembers.
func TestFoldersRemoved(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	b := open(t, path)
	defer b.Close()
	name := put(t, b, []byte("bytes"))
	if err := os.RemoveAll(filepath.Join(path, "sha256")); err != nil {
		t.Fatal(err)
	}
	if again := put(t, b, []byte("bytes")); again != name {
		t.Errorf("stored %s", again)
	}
	if _, err := b.Head(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// TestForeignFiles: List ignores everything that is not a blob.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	b := open(t, path)
	defer b.Close()
	key := storage.Key(put(t, b, []byte("bytes")))
	for _, name := range []string{"sha256/README", "sha256/00/11/short", filepath.Dir(key) + "/" + strings.Repeat("0", 64)} {
		file := filepath.Join(path, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listed := 0
	for _, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if listed != 1 {
		t.Errorf("listed %d", listed)
	}
}

// sink stands for a connection in io.Copy.
type sink struct {
	bytes.Buffer
	from io.Reader
}

func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	s.from = r
	return s.Buffer.ReadFrom(r)
}

// TestSendfile: a connection must get the file itself, and its limit.
func TestSendfile(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	defer b.Close()
	name := put(t, b, []byte("0123456789"))
	r, _, err := b.Get(t.Context(), name, &storage.Range{Offset: 2, Length: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var to sink
	if n, err := io.Copy(&to, r); n != 5 || err != nil || to.String() != "23456" {
		t.Errorf("%d bytes, %v: %q", n, err, to.String())
	}
	limited, ok := to.from.(*io.LimitedReader)
	if !ok {
		t.Fatalf("the connection saw a %T", to.from)
	}
	if _, ok := limited.R.(*os.File); !ok {
		t.Errorf("the connection saw a %T within", limited.R)
	}
}

// TestShortFile: a file that shrinks under a reader is an error, not the end.
func TestShortFile(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"Read", "WriteTo"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			b := open(t, path)
			defer b.Close()
			name := put(t, b, []byte("0123456789"))
			r, _, err := b.Get(t.Context(), name, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := os.Truncate(filepath.Join(path, filepath.FromSlash(storage.Key(name))), 5); err != nil {
				t.Fatal(err)
			}
			if way == "Read" {
				_, err = io.ReadAll(struct{ io.Reader }{r})
			} else {
				_, err = io.Copy(&sink{}, r)
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v", err)
			}
		})
	}
}
