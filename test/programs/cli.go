package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coulomb/artifact-store/test/servers"
)

// Exit codes of the CLI.
const (
	ExitDone      = 0
	ExitFailed    = 1
	ExitUsage     = 2
	ExitIntegrity = 3
)

// CLI is the program artifactstore, pointed at a registry.
type CLI struct {
	Server string
	// Token to ask with, "" for none.
	Token string
	// Folder of the program, as Base returns it; "" for the one that is built from here.
	Folder string
}

// Result is what one run left.
type Result struct {
	Program        string
	Args           []string
	Code           int
	Stdout, Stderr string
}

func (r Result) String() string {
	return fmt.Sprintf("%s %q: exit %d\n%s%s", r.Program, r.Args, r.Code, tail(r.Stdout), tail(r.Stderr))
}

// Exec runs it and returns what it left, whatever its code; ctx kills it.
func (c CLI) Exec(ctx context.Context, tb testing.TB, args ...string) Result {
	tb.Helper()
	folder := c.Folder
	if folder == "" {
		folder = Folder(tb)
	}
	return execute(ctx, tb, filepath.Join(folder, "artifactstore"), []string{"ARTIFACTSTORE_SERVER=" + c.Server, "ARTIFACTSTORE_TOKEN=" + c.Token}, args)
}

// Execute is Exec with variables of the caller's, and no others that say something to the program.
func Execute(ctx context.Context, tb testing.TB, variables []string, args ...string) Result {
	tb.Helper()
	return execute(ctx, tb, Path(tb, "artifactstore"), variables, args)
}

// ExecuteOf is Execute with a program of a folder that Base or Folder returned.
func ExecuteOf(ctx context.Context, tb testing.TB, folder, program string, variables []string, args ...string) Result {
	tb.Helper()
	return execute(ctx, tb, filepath.Join(folder, program), variables, args)
}

// CheckViews runs the manager's verb on a database, and fails the test unless
// the views are the fold of the log.
func CheckViews(tb testing.TB, database string) {
	tb.Helper()
	result := execute(context.Background(), tb, Path(tb, "manager"), []string{"ARTIFACTSTORE_DATABASE=" + database}, []string{"views", "check"})
	if result.Code != ExitDone {
		tb.Fatalf("want exit %d of %s", ExitDone, result)
	}
}

func execute(ctx context.Context, tb testing.TB, program string, variables, args []string) Result {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, program, args...)
	command.Env = environment(variables...)
	command.Stdout, command.Stderr = &stdout, &stderr
	err := servers.Start(command)
	if err == nil {
		err = command.Wait()
	}
	code := -1 // of a program that was killed, or not started any more
	if command.ProcessState != nil {
		code = command.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		tb.Error(err)
	}
	return Result{filepath.Base(program), args, code, stdout.String(), stderr.String()}
}

// Run runs it and fails the test unless it ends with the code.
func (c CLI) Run(tb testing.TB, code int, args ...string) Result {
	tb.Helper()
	result := c.Exec(context.Background(), tb, args...)
	if result.Code != code {
		tb.Fatalf("want exit %d of %s", code, result)
	}
	return result
}

// JSON runs it with -o json, wants code 0, and reads what it prints.
func JSON[T any](tb testing.TB, c CLI, args ...string) T {
	tb.Helper()
	return Decode[T](tb, c.Run(tb, ExitDone, append(args, "-o", "json")...))
}

// Decode reads the JSON that a run printed.
func Decode[T any](tb testing.TB, r Result) T {
	tb.Helper()
	var value T
	if err := json.Unmarshal([]byte(r.Stdout), &value); err != nil {
		tb.Fatalf("%v in what this prints: %s", err, r)
	}
	return value
}

func tail(text string) string { return text[max(0, len(text)-2000):] }
