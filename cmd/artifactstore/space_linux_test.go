package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPullWithoutSpace: what does not fit is refused before anything is fetched.
func TestPullWithoutSpace(t *testing.T) {
	t.Parallel()
	m, a, _, dir := pulledTree(t)
	switch err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		t.Skip("mounting a small file system needs root")
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	m.lastOffset = -1
	err := a.pull(t.Context(), pullOptions{dir: dir, concurrency: 1}, testRef.String())
	if err == nil || !strings.HasPrefix(err.Error(), dir+": 2.10 MB are needed, 1.0") || !strings.HasSuffix(err.Error(), " MB are free") || m.lastOffset != -1 {
		t.Errorf("%v, asked from %d", err, m.lastOffset)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "empty")); err == nil {
		t.Error("a file was fetched")
	}
}
