package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterrupt: one signal ends what reads a named pipe, two end every verb, also
// where SIGINT was ignored when the program started.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "artifactstore") // see TestMain
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	named := []string{"--producer", "p", "--name", "n", "--version", "v", "--retention-class", "c"}
	for name, tt := range map[string]struct {
		args    []string
		signals int
	}{
		"digest of a pipe":            {[]string{"digest", pipe}, 1},
		"digest of standard input":    {[]string{"digest", "-"}, 1},
		"push of standard input":      {append([]string{"push", "-", "--path", "x"}, named...), 1},
		"push of a tar":               {append([]string{"push", "--tar", "-"}, named...), 1},
		"push of a tar in a pipe":     {append([]string{"push", "--tar", pipe}, named...), 1},
		"a token file that is a pipe": {[]string{"list", "--token-file", pipe}, 2},
		"a CA file that is a pipe":    {[]string{"list", "--server", "https://127.0.0.1:1", "--ca-file", pipe}, 2},
		"a place that is a pipe":      {[]string{"storage", "probe", "--file", pipe}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// As a shell starts what it runs in the background.
			command := exec.Command("sh", append([]string{"-c", `trap '' INT; exec "$0" "$@"`, program}, tt.args...)...)
			var stderr bytes.Buffer
			command.Stderr = &stderr
			stdin, err := command.StdinPipe() // stays open: there is no end
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close() //nolint:errcheck // a test's
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- command.Wait() }()
			waitUntilItBlocks(t, command.Process.Pid)
			for range tt.signals {
				if err := command.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Millisecond) // two at once are one
			}
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				command.Process.Kill() //nolint:errcheck // the test has failed
				t.Fatalf("it still runs after %d signals", tt.signals)
			}
			if code := command.ProcessState.ExitCode(); code != exitInterrupted || stderr.String() != "artifactstore: interrupted\n" {
				t.Errorf("exit %d: %s", code, stderr.String())
			}
		})
	}
}

// waitUntilItBlocks waits until the program handles SIGINT, and a while more for it to open the pipe.
func waitUntilItBlocks(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err == nil && strings.Contains(string(status), "Name:\tartifactstore") {
			time.Sleep(500 * time.Millisecond)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("it does not start")
}
