package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/built"
)

// startDeadline bounds the time until a manager's backends are ready.
const startDeadline = 30 * time.Second

// TestEmbedded runs scripts against a real manager with its own data, started
// by the command "manager start" from the script's config folder.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/embedded",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "manager": manager, "damage": damage, "eventually": eventually,
		},
		Setup: func(env *testscript.Env) error {
			env.Values[processKey{}] = new(process)
			return nil
		},
	})
}

type processKey struct{}

// process is the manager of one script.
type process struct {
	command *exec.Cmd
	log     *os.File
}

var servedAt = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

// manager start BACKENDS FLAG... starts a manager and waits until that many
// backends are ready, using the token of the environment, if any. Then it points
// the CLI at the manager. manager stop stops it and requires a clean exit.
// manager views VERB FLAG... runs that verb.
func manager(ts *testscript.TestScript, neg bool, args []string) {
	p := ts.Value(processKey{}).(*process)
	switch {
	case !neg && len(args) >= 2 && args[0] == "start" && p.command == nil:
		p.start(ts, args[1], args[2:])
	case !neg && len(args) == 1 && args[0] == "stop" && p.command != nil:
		ts.Check(p.stop())
	case !neg && len(args) > 1 && args[0] == "views":
		folder, err := built.Products()
		ts.Check(err)
		ts.Check(ts.Exec(filepath.Join(folder, "manager"), args...))
	default:
		ts.Fatalf("usage: manager start BACKENDS FLAG... | manager stop | manager views VERB FLAG...")
	}
}

func (p *process) start(ts *testscript.TestScript, backends string, flags []string) {
	folder, err := built.Products()
	ts.Check(err)
	p.log, err = os.Create(ts.MkAbs("manager.log"))
	ts.Check(err)
	p.command = exec.Command(filepath.Join(folder, "manager"), append([]string{"--config-dir", ts.MkAbs("config"), "--data-dir", ts.MkAbs("data"), "--listen", "127.0.0.1:0"}, flags...)...)
	p.command.Stdout, p.command.Stderr = p.log, p.log
	ts.Check(p.command.Start())
	ts.Defer(func() { _ = p.stop() }) // after a failed script a clean exit does not matter
	var server string
	waitFor(ts, func() error {
		text := ts.ReadFile("manager.log")
		if server = servedAt.FindString(text); server == "" {
			return fmt.Errorf("the manager does not say where it serves:\n%s", text)
		}
		return nil
	})
	ts.Setenv(serverEnv, server)
	waitFor(ts, func() error {
		client, err := connect(connection{server: server, token: storage.NewSecret(ts.Getenv(tokenEnv))})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
		defer cancel()
		list, err := client.ListBackends(ctx)
		ready := 0
		for _, backend := range list {
			if backend.Ready {
				ready++
			}
		}
		if fmt.Sprint(ready) != backends {
			err = fmt.Errorf("%d backends are ready, want %s: %+v (%v)", ready, backends, list, err)
		}
		return err
	})
}

func (p *process) stop() error {
	if p.command == nil {
		return nil
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := p.command.Wait()
	p.command = nil
	p.log.Close()
	return err
}

// waitFor polls until check returns nil or the deadline is over.
func waitFor(ts *testscript.TestScript, check func() error) {
	deadline := time.Now().Add(startDeadline)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
		<-tick.C
	}
}

// eventually TEXT PROGRAM ARG... runs the program until its output contains the text.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually TEXT PROGRAM ARG...")
	}
	waitFor(ts, func() error {
		_ = ts.Exec(args[1], args[2:]...) // the output counts, not the exit code
		if out := ts.ReadFile("stdout"); !strings.Contains(out, args[0]) {
			return fmt.Errorf("%q is not in what %v prints:\n%s", args[0], args[1:], out)
		}
		return nil
	})
}

// damage flip|remove FOLDER SHA256 changes a bit of a stored blob, or removes
// it, behind the manager's back.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage flip|remove|pipe FOLDER SHA256")
	}
	hex := strings.TrimPrefix(args[2], "sha256:")
	path := filepath.Join(ts.MkAbs(args[1]), "sha256", hex[0:2], hex[2:4], hex)
	switch args[0] {
	case "remove":
		ts.Check(os.Remove(path))
		return
	case "pipe":
		ts.Check(os.Remove(path))
		ts.Check(syscall.Mkfifo(path, 0o600))
		return
	}
	content, err := os.ReadFile(path)
	ts.Check(err)
	content[len(content)/2] ^= 1
	ts.Check(os.Remove(path)) // stored blobs are read-only
	ts.Check(os.WriteFile(path, content, 0o444))
}
