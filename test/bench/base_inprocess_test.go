//go:build base

package bench

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coulomb/artifact-store/test/servers"
)

// inProcess is the package that is compiled into both trees.
const inProcess = "test/bench/inprocess"

// BenchmarkBaseInProcess runs the benchmarks of inProcess as they are here
// with the packages of each tree.
func BenchmarkBaseInProcess(b *testing.B) {
	root, err := servers.Root()
	if err != nil {
		b.Fatal(err)
	}
	_, base := versions(b)
	source := filepath.Join(string(base), "source")
	if err := os.RemoveAll(filepath.Join(source, inProcess)); err != nil {
		b.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(source, inProcess), os.DirFS(filepath.Join(root, inProcess))); err != nil {
		b.Fatal(err)
	}
	ours, theirs := compile(b, root), compile(b, source)
	var names []string
	took := [2]map[string][]time.Duration{{}, {}}
	for pair := range pairs {
		for turn := range 2 {
			which := (pair + turn) % 2 // A B B A
			for _, row := range rows(b, []string{ours, theirs}[which]) {
				if pair+turn == 0 {
					names = append(names, row.name)
				}
				took[which][row.name] = append(took[which][row.name], row.took)
			}
		}
	}
	for _, name := range names {
		recordPairs(b, "in process: "+name, took[0][name], took[1][name])
	}
}

// compile makes the test program of inProcess in the module at root.
func compile(b *testing.B, root string) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "inprocess")
	command := exec.Command("go", "test", "-trimpath", "-buildvcs=false", "-c", "-o", program, "./"+inProcess)
	command.Dir, command.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("%s, which uses only what both trees have, does not compile in %s: %v\n%s", inProcess, root, err, out)
	}
	return program
}

type row struct {
	name string
	took time.Duration // for one operation
}

var measured = regexp.MustCompile(`^Benchmark(\w+)-\d+\s+\d+\s+([0-9.]+) ns/op`)

// rows runs a test program of inProcess.
func rows(b *testing.B, program string) (all []row) {
	b.Helper()
	unix.Sync()
	command := exec.Command(program, "-test.run", "^$", "-test.bench", ".", "-test.benchtime", "300ms")
	out, err := command.Output()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if match := measured.FindStringSubmatch(lines.Text()); match != nil {
			ns, err := strconv.ParseFloat(match[2], 64)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, row{match[1], time.Duration(ns)})
		}
	}
	if len(all) == 0 {
		b.Fatalf("no benchmark was run:\n%s", out)
	}
	return all
}

// fileSystem says in a word what a folder is on.
func fileSystem(b *testing.B, folder string) string {
	b.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		b.Fatal(err)
	}
	if stat.Type == unix.TMPFS_MAGIC {
		return "memory"
	}
	return "a disk"
}
