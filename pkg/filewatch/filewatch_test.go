package filewatch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/filewatch"
)

// taker reads all files of a folder and refuses "bad".
type taker struct {
	dir string

	mu    sync.Mutex
	taken []string
}

func (k *taker) paths() []string {
	paths, err := filepath.Glob(filepath.Join(k.dir, "*"))
	if err != nil {
		panic(err)
	}
	return paths
}

func (k *taker) take() error {
	var all []string
	for _, path := range k.paths() {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(all, string(content))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taken = append(k.taken, strings.Join(all, "+"))
	if strings.Contains(k.taken[len(k.taken)-1], "bad") {
		return errors.New("bad content")
	}
	return nil
}

func (k *taker) now() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(k.taken)
}

func (k *taker) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *taker) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); k.now() != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("taken %s, want %s", k.now(), want)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	k := &taker{dir: t.TempDir()}
	k.write(t, "a", "1")
	files, err := filewatch.Open(k.paths, k.take)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	refusals := make(chan error, 10)
	var running sync.WaitGroup
	running.Go(func() { files.Run(ctx, func(err error) { refusals <- err }) })
	k.await(t, "[1]")

	// A new file, and the same size and time as before.
	k.write(t, "b", "2")
	k.await(t, "[1 1+2]")
	at := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(filepath.Join(k.dir, "b"), at, at); err != nil {
		t.Fatal(err)
	}
	k.write(t, "b", "3")
	if err := os.Chtimes(filepath.Join(k.dir, "b"), at, at); err != nil {
		t.Fatal(err)
	}
	k.await(t, "[1 1+2 1+3]")

	// A refused one is reported once and not tried again.
	k.write(t, "b", "bad")
	k.await(t, "[1 1+2 1+3 1+bad]")
	time.Sleep(3 * filewatch.Interval)
	k.write(t, "b", "4")
	k.await(t, "[1 1+2 1+3 1+bad 1+4]")
	if err := os.Remove(filepath.Join(k.dir, "b")); err != nil {
		t.Fatal(err)
	}
	k.await(t, "[1 1+2 1+3 1+bad 1+4 1]")
	stop()
	running.Wait()
	if len(refusals) != 1 {
		t.Errorf("%d refusals, want one", len(refusals))
	}
}

// TestLinks: a folder is replaced behind a link, as Kubernetes replaces a
// volume's files.
func TestLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"one": "1", "two": "2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "file"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link, taken := filepath.Join(dir, "now"), 0
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(link, "file")
	files, err := filewatch.Open(func() []string { return []string{path} }, func() error { taken++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Look(); err != nil || taken != 1 {
		t.Errorf("nothing changed: %v, taken %d times", err, taken)
	}
	if err := errors.Join(os.Symlink("two", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	if err := files.Look(); err != nil || taken != 2 {
		t.Errorf("the link changed: %v, taken %d times", err, taken)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	k := &taker{dir: t.TempDir()}
	k.write(t, "a", "bad")
	files, err := filewatch.Open(k.paths, k.take)
	if err == nil {
		t.Error("the first content is refused, and Open does not say so")
	}
	if err := files.Look(); err == nil || k.now() != "[bad]" {
		t.Errorf("%v, %s: the refusal of unchanged content stands", err, k.now())
	}
	k.write(t, "a", "good")
	if err := files.Look(); err != nil || k.now() != "[bad good]" {
		t.Errorf("%v, %s", err, k.now())
	}
}

// TestOddFiles: neither a pipe nor a file without an end holds it up.
func TestOddFiles(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := filewatch.Open(func() []string { return []string{pipe, "/dev/zero", "/does/not/exist"} }, func() error { return nil })
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits")
	}
}
