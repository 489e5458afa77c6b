package programs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coulomb/artifact-store/test/servers"
)

// built is the folder of both programs, built once for a process.
var built = sync.OnceValues(func() (string, error) { return build("./cmd/manager", "./cmd/artifactstore") })

// build makes programs, given as packages from the module's root, and returns
// their folder. It is the same for every process, since linking them takes longer
// than finding out that they are as they would be.
func build(packages ...string) (string, error) {
	root, err := servers.Root()
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
	build := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-o", folder}, packages...)...)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build.Args, err, out)
	}
	return folder, nil
}

// Build builds a program of the tests' own, as "./test/bench/putmany", and returns its path.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	folder, err := build(pkg)
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(folder, filepath.Base(pkg))
}

// Folder of the programs manager and artifactstore.
func Folder(tb testing.TB) string {
	tb.Helper()
	folder, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	return folder
}

// Path of the program manager or artifactstore.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	return filepath.Join(Folder(tb), name)
}

// Base builds both programs of another commit, unless they are there, and
// returns their folder: for tests that upgrade from it, and to compare with it.
func Base(tb testing.TB, commit string) string {
	tb.Helper()
	root, err := servers.Root()
	if err != nil {
		tb.Fatal(err)
	}
	command := exec.Command(filepath.Join(root, "hack", "build-base.sh"), commit)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		tb.Fatalf("%v: %v\n%s", command.Args, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(output))
}
