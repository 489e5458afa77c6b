// Package built builds programs of this module for tests: once for all
// packages, since linking them takes longer than finding out that they are as
// they would be.
package built

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Products returns the folder of the programs manager and artifactstore.
var Products = sync.OnceValues(func() (string, error) { return Folder("./cmd/manager", "./cmd/artifactstore") })

// Folder builds programs, given as packages from the module's root, and returns
// their folder. It is the same for every process.
func Folder(packages ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, "bin", "test")
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // another user may run them
		return "", err
	}
	lock, err := os.Open(folder)
	if err != nil {
		return "", err
	}
	defer lock.Close() //nolint:errcheck // which unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	// The flags of the Makefile, so that the build cache is shared with it.
	build := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", folder}, packages...)...)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build.Args, err, out)
	}
	return folder, nil
}

// Root is the repository's root: the nearest folder above the working
// directory with a go.mod of its own.
func Root() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("no go.mod in the working directory or above")
		}
		folder = parent
	}
}
