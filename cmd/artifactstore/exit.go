package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Exit codes, as scripts rely on them.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitIntegrity = 3
)

// usageError is what the caller of the program got wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// asUsage marks an error of checking arguments; nil stays nil.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// errIntegrity is wrapped by every finding that bytes are not what they should be.
var errIntegrity = errors.New("integrity failure")

// integrityError names the file, blob or backend and what is wrong with it.
type integrityError struct{ subject, detail string }

func (e *integrityError) Error() string { return e.subject + ": " + e.detail }

func (e *integrityError) Is(target error) bool { return target == errIntegrity }

func integrity(subject, format string, args ...any) error {
	return &integrityError{subject, fmt.Sprintf(format, args...)}
}

// exitCode is the one place that maps errors to codes. Wrong usage goes first:
// a digest that is misspelt on the command line is no integrity failure.
func exitCode(err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &wrong):
		return exitUsage
	case errors.Is(err, errIntegrity), errors.Is(err, storage.ErrMismatch), errors.Is(err, registry.ErrFailedLocation),
		errors.Is(err, view.ErrDiffers), errors.Is(err, eventlog.ErrBroken):
		return exitIntegrity
	default:
		return exitFailed
	}
}

// oneLine keeps a message of several lines (joined errors) on one.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
