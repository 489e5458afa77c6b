//go:build base

package bench

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coulomb/artifact-store/test/servers"
)

// inProcess is the package that is compiled into both trees.
const inProcess = "test/bench/inprocess"

// inProcessPairs is how often each runs in both trees: one second of one goroutine
// differs by a tenth from the next.
const inProcessPairs = 11

// BenchmarkBaseInProcess runs the benchmarks of inProcess as they are here
// with the packages of each tree.
func BenchmarkBaseInProcess(b *testing.B) {
	_, base := versions(b)
	ours, theirs := compileOurs(b), compileBase(b, base)
	list, err := exec.Command(ours, "-test.list", "^Benchmark").Output()
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		if name == bareRows {
			continue
		}
		var took [2][]time.Duration
		rounds := inProcessPairs
		if goals[name] > 0 {
			rounds = pairs // it begins with 10,000 packages, and a batch differs little from the next
		}
		for pair := range rounds {
			for turn := range 2 {
				which := (pair + turn) % 2 // A B B A
				took[which] = append(took[which], operation(b, []string{ours, theirs}[which], name))
			}
		}
		recordGoal(b, "in process: "+strings.TrimPrefix(name, "Benchmark"), cmp.Or(goals[name], noSlower), took[0], took[1])
	}
	var folds, bare []time.Duration
	for range pairs {
		folds, bare = append(folds, operation(b, ours, fold)), append(bare, operation(b, ours, bareRows))
	}
	recordGoal(b, "in process: Fold, against bare rows", foldOfBare, folds, bare)
}

const (
	fold, foldPostgres, bareRows = "BenchmarkFold", "BenchmarkFoldPostgres", "BenchmarkBareRows"
	// foldOfBare is how fast the fold is to be against inserting the same rows.
	foldOfBare = 0.8
)

// compileOurs makes the test program of inProcess here.
func compileOurs(b *testing.B) string {
	b.Helper()
	root, err := servers.Root()
	if err != nil {
		b.Fatal(err)
	}
	return compile(b, root)
}

// compileBase makes it with the packages of the other commit.
func compileBase(b *testing.B, base version) string {
	b.Helper()
	root, err := servers.Root()
	if err != nil {
		b.Fatal(err)
	}
	source := filepath.Join(string(base), "source")
	if err := os.RemoveAll(filepath.Join(source, inProcess)); err != nil {
		b.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(source, inProcess), os.DirFS(filepath.Join(root, inProcess))); err != nil {
		b.Fatal(err)
	}
	// What the trees do not have in common is in a file of each.
	views, err := os.ReadFile(filepath.Join(root, inProcess, "base", "views_test.go.txt"))
	if err == nil {
		err = os.WriteFile(filepath.Join(source, inProcess, "views_test.go"), views, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return compile(b, source)
}

// foldGoal is how many times as fast as the base's the fold is to be.
const foldGoal = 2

// goals are how many times as fast as the base's a benchmark is to be.
var goals = map[string]float64{fold: foldGoal, foldPostgres: foldGoal}

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

var measured = regexp.MustCompile(`(?m)^Benchmark\w+-\d+\s+\d+\s+([0-9.]+) ns/op`)

// operation runs a benchmark of inProcess and returns the time of one operation.
func operation(b *testing.B, program, name string) time.Duration {
	b.Helper()
	return operationFor(b, program, name, "1s")
}

// operationFor is operation for as long, or as often, with these variables.
func operationFor(b *testing.B, program, name, long string, variables ...string) time.Duration {
	b.Helper()
	unix.Sync()
	command := exec.Command(program, "-test.run", "^$", "-test.bench", "^"+name+"$", "-test.benchtime", long)
	command.Env = append(os.Environ(), variables...)
	if name == foldPostgres {
		command.Env = append(command.Env, "FOLD_DATABASE="+servers.Postgres(b, servers.Durable()))
	}
	out, err := command.CombinedOutput()
	match := measured.FindSubmatch(out)
	if err != nil || match == nil {
		b.Fatalf("%s: %v\n%s", name, err, out)
	}
	ns, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(ns)
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
