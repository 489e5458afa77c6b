// Package programs builds the manager and the CLI and runs them as a user
// would: as processes, with flags, over the network. Tests and benchmarks use it.
package programs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// Patience bounds every wait for something that should take a second: tests
// of many packages share few cores.
const Patience = 60 * time.Second

// pollInterval is how often a condition is looked at that no event announces.
const pollInterval = 20 * time.Millisecond

// Manager is a running manager.
type Manager struct {
	// URL where it serves.
	URL string
	// Log is the file of what it says.
	Log string
	// Token to ask it with, "" for none.
	Token string
	// Started is how long it took until it was ready, which is when every
	// declared backend was tried once.
	Started time.Duration

	command *exec.Cmd
	ended   chan struct{} // closed once err is set
	err     error
}

// environment is all of the caller's that a program gets: results must not depend on the rest.
func environment(more ...string) []string {
	return append([]string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}, more...)
}

var served = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

// StartManager starts a manager on a free port of loopback and waits until it
// is ready. It is killed when the test ends, unless it has ended by then.
func StartManager(tb testing.TB, args, env []string) *Manager {
	tb.Helper()
	return StartManagerOf(tb, Folder(tb), args, env)
}

// StartManagerOf is StartManager with the manager of a folder that Base or Folder returned.
func StartManagerOf(tb testing.TB, folder string, args, env []string) *Manager {
	tb.Helper()
	return StartManagerBy(tb, nil, folder, args, env)
}

// StartManagerBy is StartManagerOf by another program, as strace: by is that and its
// arguments, and it must become the manager: signals go to the process that is started.
func StartManagerBy(tb testing.TB, by []string, folder string, args, env []string) *Manager {
	tb.Helper()
	log, err := os.CreateTemp(tb.TempDir(), "manager-*.log")
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the manager has its own
	m := &Manager{Log: log.Name(), ended: make(chan struct{})}
	line := slices.Concat(by, []string{filepath.Join(folder, "manager"), "--listen", "127.0.0.1:0"}, args)
	m.command = exec.Command(line[0], line[1:]...)
	m.command.Env = environment(env...)
	m.command.Stdout, m.command.Stderr = log, log
	began := time.Now()
	if err := servers.Start(m.command); err != nil {
		tb.Fatal(err)
	}
	go func() {
		m.err = m.command.Wait()
		close(m.ended)
	}()
	tb.Cleanup(func() {
		select {
		case <-m.ended: // by the test, which has seen what it wanted
			return
		default:
		}
		m.Kill()
		if tb.Failed() {
			tb.Logf("the end of the manager's log:\n%s", m.Tail())
		}
	})
	Eventually(tb, func() error {
		text, err := os.ReadFile(m.Log)
		if err != nil {
			return err
		}
		if m.URL = served.FindString(string(text)); m.URL == "" {
			return m.alive(errors.New("it does not say where it serves"))
		}
		answer, err := http.Get(m.URL + "/readyz")
		if err != nil {
			return m.alive(err)
		}
		defer answer.Body.Close() //nolint:errcheck // only its status counts
		if answer.StatusCode != http.StatusOK {
			return m.alive(fmt.Errorf("/readyz answers %s", answer.Status))
		}
		return nil
	})
	m.Started = time.Since(began)
	return m
}

// fatalError ends Eventually at once.
type fatalError struct{ error }

// alive is err, or what it ended with: then waiting is of no use.
func (m *Manager) alive(err error) error {
	select {
	case <-m.ended:
		return fatalError{fmt.Errorf("the manager ended: %w\n%s", errors.Join(m.err, err), m.Tail())}
	default:
		return err
	}
}

// PID of the process.
func (m *Manager) PID() int { return m.command.Process.Pid }

// Kill ends it at once (SIGKILL) and waits for that.
func (m *Manager) Kill() {
	_ = m.command.Process.Kill() // it may have ended by itself
	<-m.ended
}

// Stop ends it as a service manager would (SIGTERM) and returns an error unless it ended with code 0.
func (m *Manager) Stop() error {
	if err := m.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.ended:
		return m.err
	case <-time.After(Patience):
		return fmt.Errorf("the manager did not end within %s of SIGTERM", Patience)
	}
}

// Tail is the end of its log.
func (m *Manager) Tail() string {
	text, err := os.ReadFile(m.Log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Text is all that it has said.
func (m *Manager) Text() string {
	text, err := os.ReadFile(m.Log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Client returns an HTTP client of its registry.
func (m *Manager) Client(tb testing.TB) *client.Client {
	tb.Helper()
	opts := client.Options{}
	if m.Token != "" {
		opts.Token = func() (storage.Secret, error) { return storage.NewSecret(m.Token), nil }
	}
	client, err := client.New(m.URL, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// Eventually polls until check returns nil, and fails the test if it does not within Patience.
func Eventually(tb testing.TB, check func() error) {
	tb.Helper()
	EventuallyWithin(tb, Patience, check)
}

// EventuallyWithin is Eventually for what takes longer by design.
func EventuallyWithin(tb testing.TB, patience time.Duration, check func() error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		var fatal fatalError
		if errors.As(err, &fatal) {
			tb.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("after %s: %v", patience, err)
		}
	}
}
