package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// verb is a command that the manager runs instead of serving. Each has a file of its
// own, with its name.
type verb struct {
	name string // one or more words, before all flags
	does string // one line of --help
	// prepare declares the flags and returns what runs after they are parsed.
	prepare func(set *flag.FlagSet, env environment) func(ctx context.Context) error
}

// verbs are listed by --help in this order.
var verbs = []verb{
	viewsCheck,
	viewsRebuild,
	recoverLog,
}

// findVerb returns the verb at the start of the arguments, and the other arguments.
func findVerb(args []string) (found verb, rest []string, ok bool) {
	for _, v := range verbs {
		words := strings.Fields(v.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return v, args[len(words):], true
		}
	}
	return verb{}, nil, false
}

func (v verb) execute(ctx context.Context, args []string, env environment) error {
	set := flag.NewFlagSet("manager "+v.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	do := v.prepare(set, env)
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(env.stderr, "Usage: manager %s [flags]\n%s\n", v.name, v.does)
		set.SetOutput(env.stderr)
		set.PrintDefaults()
		return nil
	}
	if err == nil && set.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if err != nil {
		return &usageError{err}
	}
	return do(ctx)
}

// printVerbs is the end of the manager's own --help.
func printVerbs(output io.Writer) {
	fmt.Fprintln(output, "\nVerbs, each with --help:")
	for _, v := range verbs {
		fmt.Fprintf(output, "manager %s: %s\n", v.name, v.does)
	}
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	case errors.Is(err, view.ErrDiffers), errors.Is(err, eventlog.ErrBroken), errors.Is(err, registrar.ErrOlderLog):
		return 3
	}
	return 1
}
