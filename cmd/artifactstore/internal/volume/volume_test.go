package volume_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/coulomb/artifact-store/cmd/artifactstore/internal/volume"
)

func TestFree(t *testing.T) {
	t.Parallel()
	if free, err := volume.Free(t.TempDir()); err != nil || free <= 0 {
		t.Errorf("free: %d, %v", free, err)
	}
	if _, err := volume.Free(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing folder has space")
	}
}

func TestTryLock(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	first, second := open(), open()
	defer second.Close()
	if !volume.TryLock(first) || volume.TryLock(second) {
		t.Error("the lock is not exclusive")
	}
	first.Close()
	if !volume.TryLock(second) {
		t.Error("the lock is kept after its file was closed")
	}
}

func TestOnlyOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o770: false, 0o702: false, 0o777 | os.ModeSticky: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := volume.OnlyOurs(info); got != (want || runtime.GOOS == "windows") {
			t.Errorf("%v: %t", mode, got)
		}
	}
}
