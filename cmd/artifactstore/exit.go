package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Exit codes. Scripts rely on them.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitIntegrity = 3
	// exitInterrupted is what a shell reports of a program that SIGINT ended.
	exitInterrupted = 130
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// asUsage marks err as a mistake on the command line; nil stays nil.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// errIntegrity matches every integrityError.
var errIntegrity = errors.New("integrity failure")

// integrityError says which file, blob or backend is damaged, and how.
type integrityError struct{ subject, detail string }

func (e *integrityError) Error() string { return e.subject + ": " + e.detail }

func (e *integrityError) Is(target error) bool { return target == errIntegrity }

func integrity(subject, format string, args ...any) error {
	return &integrityError{subject, fmt.Sprintf(format, args...)}
}

// exitCode is the only place that maps errors to codes. Usage takes precedence:
// a misspelt digest on the command line is not an integrity failure.
func exitCode(err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &wrong):
		return exitUsage
	case errors.Is(err, errIntegrity), errors.Is(err, storage.ErrMismatch), errors.Is(err, registry.ErrFailedLocation):
		return exitIntegrity
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// keptError is a failure of a transfer of which something is kept.
type keptError struct {
	err error
	// kept says what, and how to go on.
	kept string
}

func (e *keptError) Error() string { return e.err.Error() + "; " + e.kept }
func (e *keptError) Unwrap() error { return e.err }

// interrupted is what the user is told after a signal: whatever it interrupted, nothing
// but what is kept is news.
func interrupted(err error) error {
	if kept, is := errors.AsType[*keptError](err); is {
		return errors.New("interrupted; " + kept.kept)
	}
	return errors.New("interrupted")
}

// oneLine joins the lines of a message, such as those of joined errors. It may
// repeat what a server said.
func oneLine(err error) string {
	return printable(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}
