package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

// standardLibrary is the folder of the Go standard library's sources.
var standardLibrary = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	// The folder may be a link, as some distributions have it.
	return filepath.EvalSymlinks(filepath.Join(strings.TrimSpace(string(out)), "src"))
})

// sourceTree returns it. Anything but files and folders in it fails the test:
// nothing is to be left out silently.
func sourceTree(t *testing.T) string {
	t.Helper()
	folder, err := standardLibrary()
	if err != nil {
		t.Fatal(err)
	}
	all := modes(t, folder)
	for name, mode := range all {
		if !mode.IsRegular() {
			t.Fatalf("%s is neither a file nor a folder (%s): decide what becomes of it", name, mode)
		}
	}
	if len(all) < 8000 {
		t.Fatalf("%s holds %d files only: is it complete?", folder, len(all))
	}
	return folder
}

// modes lists everything below a folder that is no folder, by relative path.
func modes(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	all := map[string]fs.FileMode{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		all[relative] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameTree compares every file of two folders: names, executable bits, bytes.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	if err := compareTrees(t, want, got); err != nil {
		t.Fatal(err)
	}
}

func compareTrees(t *testing.T, want, got string) error {
	t.Helper()
	wanted, found := modes(t, want), modes(t, got)
	for name := range found {
		if _, there := wanted[name]; !there {
			return fmt.Errorf("%s: is in %s and not in %s", name, got, want)
		}
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for name, mode := range wanted {
		now, there := found[name]
		if !there {
			return fmt.Errorf("%s: is missing in %s", name, got)
		}
		if now.Type() != mode.Type() || now&0o111 != mode&0o111 {
			return fmt.Errorf("%s: has mode %s, want %s", name, now, mode)
		}
		group.Go(func() error {
			one, err := os.ReadFile(filepath.Join(want, name))
			if err != nil {
				return err
			}
			other, err := os.ReadFile(filepath.Join(got, name))
			if err == nil && !bytes.Equal(one, other) {
				err = fmt.Errorf("%s: the bytes differ", name)
			}
			return err
		})
	}
	return group.Wait()
}

// sizes of one generated tree: how many files of up to 4 KiB, and of about 3 MiB.
type sizes struct{ small, large int }

// writeTree fills a new folder with files that seed alone determines. Every
// fourth small file is the same in all trees, so that trees share blobs.
func writeTree(t *testing.T, seed uint64, s sizes) string {
	t.Helper()
	root := t.TempDir()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	write := func(name string, content []byte, mode fs.FileMode) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.small {
		content := make([]byte, 1+random.Uint64()%4096)
		_, _ = random.Read(content) // never fails
		if i%4 == 3 {
			content = fmt.Appendf(nil, "shared file %d\n", i)
		}
		write(fmt.Sprintf("d%d/f%d", i%7, i), content, map[bool]fs.FileMode{true: 0o755, false: 0o644}[i%5 == 0])
	}
	for i := range s.large {
		content := make([]byte, 3<<20+random.Uint64()%(1<<20))
		_, _ = random.Read(content)
		write(fmt.Sprintf("large/%d.bin", i), content, 0o644)
	}
	return root
}
