// Command manager is the operator and the registry server in one. Without
// --config-dir it follows the StorageBackends and RoutingPolicies of a
// Kubernetes namespace; with it, those in YAML files. Verbs look after its
// database: "manager views check".
//
// It ends with code 0 after SIGTERM or SIGINT, 2 for wrong flags and arguments,
// 3 if a verb finds that the database is not what it should be, and 1 otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// environment is what a process is given, so that a test can give another.
type environment struct {
	stdout, stderr io.Writer
	getenv         func(string) string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	env := environment{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	err := execute(ctx, os.Args[1:], env)
	if err != nil {
		fmt.Fprintln(env.stderr, "manager:", err)
	}
	os.Exit(exitCode(err))
}

// execute runs a verb, or serves if there is none.
func execute(ctx context.Context, args []string, env environment) error {
	if verb, rest, found := findVerb(args); found {
		return verb.execute(ctx, rest, env)
	}
	opts, err := parse(args, env.getenv, env.stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return &usageError{err}
	}
	return run(ctx, opts, env.stderr)
}
