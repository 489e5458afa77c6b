// Command manager is the operator and the registry server in one program. Without
// --config-dir it follows the StorageBackends and RoutingPolicies of a Kubernetes
// namespace; with it, those in YAML files. Verbs work on its database: "manager
// views check" and "manager views rebuild".
//
// Exit codes: 0 after SIGTERM or SIGINT, 2 for wrong usage, 3 if a verb finds that the
// database is damaged, 1 for any other failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/interrupt"
)

// environment is what the process gets from outside; tests substitute it.
type environment struct {
	stdout, stderr io.Writer
	getenv         func(string) string
}

func main() {
	env := environment{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	ctx := interrupt.Context(func() {
		fmt.Fprintln(env.stderr, "manager: interrupted")
		os.Exit(1)
	})
	err := execute(ctx, os.Args[1:], env)
	if err != nil {
		fmt.Fprintln(env.stderr, "manager:", printable(err.Error()))
	}
	os.Exit(exitCode(err))
}

// printable returns a text with escapes for what a terminal would obey or hide:
// errors repeat what objects in a bucket say. Lines stay, since joined errors have several.
func printable(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r == '\n' || strconv.IsPrint(r) {
			out.WriteRune(r)
		} else {
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return out.String()
}

// execute runs a verb, or serves without one.
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
