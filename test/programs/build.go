package programs

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/test/built"
)

// Build builds a program of the tests' own, as "./test/bench/putmany", and returns its path.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	folder, err := built.Folder(pkg)
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(folder, filepath.Base(pkg))
}

// Folder of the programs manager and artifactstore.
func Folder(tb testing.TB) string {
	tb.Helper()
	folder, err := built.Products()
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
	root, err := built.Root()
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
