//go:build base

package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// The benchmarks of make bench-scale work on databases of many packages, which are made
// once for all of them, by the programs and packages that are measured.

const (
	// scalePackages names the variable with the number of packages.
	scalePackages = "BENCH_PACKAGES"
	// scaleFolder names the variable with a folder of the databases, for which they are
	// kept. Without it they are removed at the end.
	scaleFolder = "BENCH_FOLDER"
	// scaleDefault is enough to see that the rows work.
	scaleDefault = 20_000
	// scaleSmall is what the times of queries are compared with.
	scaleSmall    = 1000
	scaleBackends = 10
)

// scaled is how many packages there are.
func scaled(b *testing.B) int {
	b.Helper()
	text := os.Getenv(scalePackages)
	if text == "" {
		return scaleDefault
	}
	packages, err := strconv.Atoi(text)
	if err != nil || packages < scaleSmall {
		b.Fatalf("%s: expected a number of packages, at least %d, not %q", scalePackages, scaleSmall, text)
	}
	return packages
}

// world is the folders of a manager: its configuration, its data and the database in it.
type world struct{ config, data string }

func (w world) database() string { return filepath.Join(w.data, "registry.db") }

// start starts the manager of a version on the world.
func (w world) start(b *testing.B, v version) *programs.Manager {
	b.Helper()
	return programs.StartManagerOf(b, string(v), []string{"--config-dir", w.config, "--data-dir", w.data}, nil)
}

var worlds struct {
	root     string
	made     map[string]world
	programs map[version]bool // that are compiled
}

// worldOf returns the world of as many packages that the version has made: ten backends,
// as a manager registers them, and the packages of inprocess.
func worldOf(b *testing.B, v version, packages int) world {
	b.Helper()
	if worlds.root == "" {
		if worlds.root = os.Getenv(scaleFolder); worlds.root == "" {
			var err error
			if worlds.root, err = os.MkdirTemp("", "bench-scale-"); err != nil {
				b.Fatal(err)
			}
			atEnd = append(atEnd, func() error { return os.RemoveAll(worlds.root) })
		}
		worlds.made, worlds.programs = make(map[string]world), make(map[version]bool)
	}
	name := fmt.Sprintf("%s-%d", filepath.Base(string(v)), packages)
	if w, made := worlds.made[name]; made {
		return w
	}
	folder := filepath.Join(worlds.root, name)
	w := world{filepath.Join(folder, "config"), filepath.Join(folder, "data")}
	complete := filepath.Join(folder, "complete")
	if _, err := os.Stat(complete); err == nil {
		worlds.made[name] = w
		return w
	}
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(w.config, 0o755), os.MkdirAll(w.data, 0o755)); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	w.register(b, v)
	used := measure(b, scaleProgram(b, v), []string{"BENCH_FILL=" + w.database(), fmt.Sprintf("%s=%d", scalePackages, packages)})
	info, err := os.Stat(w.database())
	if err == nil {
		err = os.WriteFile(complete, nil, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	by := "this tree"
	if ours, _, _ := versionsOf(b); v != ours {
		by = os.Getenv(baseCommit)
	}
	told(fmt.Sprintf("the database of %d packages by %s was made in", packages, by),
		fmt.Sprintf("%.0f s, %.0f packages/s, %.0f s of CPU time; it has %.2f GB", time.Since(began).Seconds(),
			float64(packages)/time.Since(began).Seconds(), used.cpu.Seconds(), float64(info.Size())/1e9))
	worlds.made[name] = w
	return w
}

// register has a manager register the backends.
func (w world) register(b *testing.B, v version) {
	b.Helper()
	for n := range scaleBackends {
		text := fmt.Sprintf("apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata:\n  name: backend-%d\nspec:\n  local:\n    path: objects-%d\n", n, n)
		if err := os.WriteFile(filepath.Join(w.config, fmt.Sprintf("backend-%d.yaml", n)), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	m := w.start(b, v)
	client := m.Client(b)
	for n := range scaleBackends {
		programs.Eventually(b, func() error {
			found, err := client.GetBackend(b.Context(), fmt.Sprintf("backend-%d", n))
			if err == nil && !found.Ready {
				err = fmt.Errorf("backend-%d is not ready: %s", n, found.Message)
			}
			return err
		})
	}
	if err := m.Stop(); err != nil {
		b.Fatal(err)
	}
}

// versionsOf returns that of this tree and that of the other commit, if one is named.
func versionsOf(b *testing.B) (ours version, base version, named bool) {
	b.Helper()
	if os.Getenv(baseCommit) == "" {
		return version(programs.Folder(b)), "", false
	}
	ours, base = versions(b)
	return ours, base, true
}

// scaleProgram returns the program of inProcess with the packages of a version.
func scaleProgram(b *testing.B, v version) string {
	b.Helper()
	ours, base, _ := versionsOf(b)
	program := filepath.Join(worlds.root, "inprocess-"+filepath.Base(string(v)))
	if worlds.programs[v] {
		return program
	}
	compiled := ""
	if v == ours {
		compiled = compileOurs(b)
	} else {
		compiled = compileBase(b, base)
	}
	if err := copyFile(compiled, program); err != nil {
		b.Fatal(err)
	}
	worlds.programs[v] = true
	return program
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// usage is what a process that has ended has taken.
type usage struct {
	took, cpu time.Duration
	peak      int64 // bytes of memory
	output    string
}

// measure runs a program to its end.
func measure(b *testing.B, program string, env []string, args ...string) usage {
	b.Helper()
	command := exec.Command(program, args...)
	command.Env = append([]string{"PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, env...)
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	began := time.Now()
	err := servers.Start(command)
	if err == nil {
		err = command.Wait()
	}
	if err != nil {
		b.Fatalf("%v: %v\n%s", command.Args, err, stderr.String())
	}
	u := usage{took: time.Since(began), cpu: command.ProcessState.UserTime() + command.ProcessState.SystemTime(), output: stdout.String()}
	if rusage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = rusage.Maxrss << 10
	}
	return u
}
