package local_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
)

// each is the size from which a blob is written before it is verified.
const each = buffer.SmallEach

// placed remembers where a backend is.
type placed struct {
	*local.Backend
	path string
}

func open(t *testing.T, path string) *placed {
	t.Helper()
	b, err := local.Open(t.Context(), local.Config{Path: path}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	return &placed{b, path}
}

func TestContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t,
		func(t *testing.T) storage.Backend { return open(t, t.TempDir()) },
		storagetest.WithThreshold(each),
		storagetest.WithKeys(func(t *testing.T, b storage.Backend) []string { return files(t, b.(*placed).path) }),
		storagetest.WithSecond(func(t *testing.T, b storage.Backend) storage.Backend {
			again := open(t, b.(*placed).path)
			t.Cleanup(func() { again.Close() })
			return again
		}),
		storagetest.WithOrphans(leave),
	)
}

// leave creates the files that a process that died would leave.
func leave(t *testing.T, b storage.Backend) []storage.Orphan {
	t.Helper()
	var left []storage.Orphan
	for _, o := range []storage.Orphan{
		{Kind: storage.OrphanStaged, Key: storage.StagingPrefix + "/0123", Size: 5},
		{Kind: storage.OrphanProbe, Key: storage.ProbePrefix + "/" + storage.Key(digest.Of([]byte("probe")).SHA256), Size: 6},
		{Kind: storage.OrphanProbe, Key: storage.ProbePrefix + "/" + storage.StagingPrefix + "/4567", Size: 7},
	} {
		name := filepath.Join(b.(*placed).path, filepath.FromSlash(o.Key))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, o.Size), 0o440); err != nil {
			t.Fatal(err)
		}
		left = append(left, o)
	}
	return left
}

// files lists every file below path.
func files(t *testing.T, path string) []string {
	t.Helper()
	var keys []string
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			keys = append(keys, strings.TrimPrefix(filepath.ToSlash(name), filepath.ToSlash(path)+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
