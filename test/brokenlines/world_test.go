// Package brokenlines is the proof that the command line gets large files through
// lines that break, and goes on where it was stopped itself.
package brokenlines

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/size"
)

const mebibyte = 1 << 20

// world is a manager, and a folder for everything else.
type world struct {
	t       *testing.T
	manager *programs.Manager
	folder  string
}

const backend = `apiVersion: artifactstore.dev/v1alpha1
kind: StorageBackend
metadata:
  name: only
spec:
  local:
    path: objects
`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir()}
	w.must(os.Mkdir(w.path("config"), 0o755))
	w.must(os.WriteFile(w.path("config/backend.yaml"), []byte(backend), 0o644))
	w.manager = programs.StartManager(t, []string{"--config-dir", w.path("config"), "--data-dir", w.path("data")}, nil)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.folder, name) }

// random writes a file that nobody has.
func (w *world) random(name string, bytes int64) string {
	w.t.Helper()
	var seed [32]byte
	copy(seed[:], name)
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	file, err := os.Create(w.path(name))
	w.must(err)
	_, err = io.CopyN(file, rand.NewChaCha8(seed), bytes)
	w.must(err)
	w.must(file.Close())
	return w.path(name)
}

// same compares two files.
func (w *world) same(a, b string) {
	w.t.Helper()
	first, err := os.ReadFile(a)
	w.must(err)
	second, err := os.ReadFile(b)
	w.must(err)
	if !bytes.Equal(first, second) {
		w.t.Errorf("%s and %s differ", a, b)
	}
}

// variables of a run by way of a server.
func (w *world) variables(server string) []string {
	return []string{"ARTIFACTSTORE_SERVER=" + server, "XDG_STATE_HOME=" + w.path("state")}
}

// run runs the command line and wants an exit code.
func (w *world) run(server string, code int, args ...string) programs.Result {
	w.t.Helper()
	result := programs.Execute(w.t.Context(), w.t, w.variables(server), args...)
	if result.Code != code {
		w.t.Fatalf("want exit %d of %s\n%s", code, result, w.manager.Tail())
	}
	return result
}

// pushOf is a push of p/n@1.
func pushOf(what ...string) []string {
	return append(append([]string{"push"}, what...), "--producer", "p", "--name", "n", "--version", "1", "--retention-class", "none")
}

// stopped runs the command line through a line that stalls after so many bytes, sends
// it a signal there, and returns its exit code and standard error.
func (w *world) stopped(where faultproxy.Where, after int64, signal syscall.Signal, args ...string) (code int, stderr string) {
	w.t.Helper()
	line := faultproxy.TCP(w.t, w.manager.URL)
	line.Arm(faultproxy.Fault{Where: where, After: after, Action: faultproxy.Stall, Pause: programs.Patience})
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*programs.Patience)
	defer cancel()
	command := exec.CommandContext(ctx, programs.Path(w.t, "artifactstore"), append(args, "-q")...) // no progress of a slow run
	command.Env = w.variables(line.URL)
	var said bytes.Buffer
	command.Stderr = &said
	w.must(command.Start())
	programs.Eventually(w.t, func() error {
		if line.Struck() == 0 {
			return errors.New("the line does not stall")
		}
		return nil
	})
	w.must(command.Process.Signal(signal))
	err := command.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), said.String()
}

// breaks are numbers at random, from a seed that is printed.
func breaks(t *testing.T, n int, below int64) []int64 {
	t.Helper()
	random := rand.New(rand.NewPCG(size.Seed(t), 1))
	at := make([]int64, n)
	for i := range at {
		at[i] = random.Int64N(below)
	}
	return at
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}
