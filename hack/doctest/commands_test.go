package doctest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
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

// patience bounds one command.
const patience = 30 * time.Second

// TestCommands runs every block that is marked to be run.
func TestCommands(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	t.Run("files", func(t *testing.T) {
		for _, path := range documents {
			var blocks []Block
			for _, block := range blocksOf(t, path) {
				if strings.HasPrefix(block.Mark, "run") {
					blocks = append(blocks, block)
				}
			}
			if ran[path] = len(blocks); len(blocks) == 0 {
				continue
			}
			t.Run(filepath.Base(path), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.prepare(t, before[path])
				for _, block := range blocks {
					w.run(t, fmt.Sprintf("%s:%d", path, block.Line), block)
				}
			})
		}
	})
	// A mistake in a mark must not turn the test into one that runs nothing.
	for _, path := range []string{"README.md", "docs/OPERATOR.md", "docs/api/cli.md", damagedRunbook} {
		if ran[path] == 0 {
			t.Errorf("%s: no block was run", path)
		}
	}
}

const damagedRunbook = "docs/runbooks/ArtifactStoreBlobsDamaged.md"

// before are commands that bring about what a document is for.
var before = map[string]string{damagedRunbook: `export PATH=$PWD/bin:$PATH
mkdir site && echo hello >site/index.html && artifactstore push ./site --producer me --name site --version 1.0 --retention-class release
sum=$(sha256sum site/index.html | cut -d" " -f1) && rm -f .run/backends/general/sha256/${sum:0:2}/${sum:2:2}/$sum
artifactstore storage verify --backend general; [ $? = 3 ]`}

func (w *world) prepare(t *testing.T, commands string) {
	t.Helper()
	if commands == "" {
		return
	}
	commands = "export ARTIFACTSTORE_SERVER=http://" + w.listen + "\n" + commands
	if err := w.try(t, "before", commands, ""); err != nil {
		t.Fatal(err)
	}
}

// world is a folder that looks like the repository after make run, a manager, and a shell in that folder.
type world struct {
	dir, scratch string
	manager      *programs.Manager
	listen       string
	shell        *shell
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), scratch: t.TempDir(), listen: "127.0.0.1:0"}
	for _, name := range []string{"api", "docs", "config"} {
		if err := os.CopyFS(filepath.Join(w.dir, name), os.DirFS(filepath.Join(root(t), name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(w.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manager", "artifactstore"} {
		if err := os.Symlink(programs.Path(t, name), filepath.Join(w.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	w.start(t)
	address, err := url.Parse(w.manager.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.listen = address.Host // the same again, when it is started again
	w.shell = newShell(t, w.dir)
	return w
}

func (w *world) start(t *testing.T) {
	t.Helper()
	w.manager = programs.StartManager(t, []string{
		"--config-dir", filepath.Join(w.dir, "config/samples/embedded"), "--data-dir", filepath.Join(w.dir, ".run"), "--listen", w.listen,
	}, nil)
}

func (w *world) run(t *testing.T, where string, block Block) {
	t.Helper()
	if block.Mark == "run stopped" {
		if err := w.manager.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range block.Commands() {
		text := w.local(command.Text)
		switch block.Mark {
		case "run followed":
			w.follow(t, where, text)
		case "run eventually":
			programs.Eventually(t, func() error { return w.try(t, where, text, command.Output) })
		default:
			if err := w.try(t, where, text, command.Output); err != nil {
				t.Fatal(err)
			}
		}
	}
	if block.Mark == "run stopped" {
		w.start(t)
	}
}

// local puts this test's address and folder in the place of those in the document.
func (w *world) local(text string) string {
	return strings.NewReplacer("http://127.0.0.1:8080", "http://"+w.listen, "/tmp/", w.scratch+"/").Replace(text)
}

func (w *world) try(t *testing.T, where, text, output string) error {
	t.Helper()
	printed, code := w.shell.do(t, text)
	if code != 0 {
		return fmt.Errorf("%s: %s: exit %d\n%s", where, text, code, printed)
	}
	if output != "" && !Pattern(w.local(output)).MatchString(printed) {
		return fmt.Errorf("%s: %s\nprints\n%s\nand not\n%s", where, text, printed, output)
	}
	return nil
}

// follow runs a command that does not end by itself: its first line is waited for, then it is interrupted.
func (w *world) follow(t *testing.T, where, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", "exec "+text)
	command.Dir, command.Env = w.dir, w.shell.env
	command.Env = append(command.Env, "ARTIFACTSTORE_SERVER=http://"+w.listen)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := servers.Start(command); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || line == "\n" {
		t.Errorf("%s: %s prints %q, %v", where, text, line, err)
	}
	if err := errors.Join(command.Process.Signal(syscall.SIGINT), command.Wait()); err != nil {
		t.Errorf("%s: %s, interrupted: %v", where, text, err)
	}
}

// shell is one bash, so that what a command exports is there for the next.
type shell struct {
	env    []string
	input  io.Writer
	output *bufio.Reader
}

// endMark begins the line that follows a command's output.
const endMark = "\x01end of command "

func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	s := &shell{env: []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "LC_ALL=C.UTF-8", "TMPDIR=" + t.TempDir()}}
	command := exec.Command("bash", "--noprofile", "--norc")
	command.Dir, command.Env = dir, s.env
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = write, write
	if err := servers.Start(command); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() {
		input.Close()
		_ = command.Process.Kill() // it may have ended with its input
		_ = command.Wait()
		read.Close()
	})
	s.input, s.output = input, bufio.NewReader(read)
	timer := time.AfterFunc(programs.Patience*3, func() { _ = command.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return s
}

// do runs a command and returns what it printed on both outputs, and its code.
func (s *shell) do(t *testing.T, text string) (printed string, code int) {
	t.Helper()
	if _, err := fmt.Fprintf(s.input, "{ %s\n} </dev/null\nprintf '%s%%d\\n' $?\n", text, endMark); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	for {
		line, err := s.output.ReadString('\n')
		if before, found, ok := strings.Cut(line, endMark); ok {
			output.WriteString(before)
			code, err = strconv.Atoi(strings.TrimSpace(found))
			if err != nil {
				t.Fatal(err)
			}
			return output.String(), code
		}
		output.WriteString(line)
		if err != nil {
			t.Fatalf("the shell ended in %s: %v\n%s", text, err, output.String())
		}
	}
}
