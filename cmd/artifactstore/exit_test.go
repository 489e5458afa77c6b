package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("anything"), exitFailed},
		{registry.Invalid("after", "is past the head"), exitFailed},
		{storage.ErrUnreachable, exitFailed},
		{&changedError{"f"}, exitFailed},
		{usage("wrong"), exitUsage},
		{fmt.Errorf("f: %w", asUsage(registry.Invalid("producer", "odd"))), exitUsage},
		{integrity("f", "corrupt"), exitIntegrity},
		{fmt.Errorf("f: %w", &storage.MismatchError{}), exitIntegrity},
		{registry.ErrFailedLocation, exitIntegrity},
		{fmt.Errorf("f: %w", context.Canceled), exitInterrupted},
		{&keptError{context.Canceled, "kept"}, exitInterrupted},
		{&keptError{storage.ErrUnreachable, "kept"}, exitFailed},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.want)
		}
	}
	if asUsage(nil) != nil {
		t.Error("asUsage(nil) is not nil")
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	broke := errors.New("connection reset")
	for name, test := range map[string]struct {
		report registry.VerifyReport
		err    error
		want   int
	}{
		"all right":               {registry.VerifyReport{Objects: 2, CheckedObjects: 2, Verified: 2, Done: true}, nil, exitDone},
		"nothing is there":        {registry.VerifyReport{Done: true}, nil, exitDone},
		"nothing verified":        {registry.VerifyReport{Objects: 2, Done: true}, nil, exitFailed},
		"not all verified":        {registry.VerifyReport{Objects: 2, CheckedObjects: 1, Verified: 1, Done: true}, nil, exitFailed},
		"not done":                {registry.VerifyReport{Objects: 2, CheckedObjects: 2, Verified: 2}, nil, exitFailed},
		"corrupt":                 {registry.VerifyReport{Objects: 2, CheckedObjects: 2, Verified: 1, Corrupt: 1, Done: true}, nil, exitIntegrity},
		"missing":                 {registry.VerifyReport{Objects: 1, CheckedObjects: 1, Missing: 1, Done: true}, nil, exitIntegrity},
		"corrupt and interrupted": {registry.VerifyReport{Objects: 2, CheckedObjects: 1, Corrupt: 1}, broke, exitIntegrity},
		"interrupted":             {registry.VerifyReport{Objects: 2, CheckedObjects: 1, Verified: 1}, broke, exitFailed},
		"ended by the registry":   {registry.VerifyReport{Objects: 2, CheckedObjects: 1, Verified: 1, Error: "stopped"}, nil, exitFailed},
		"unreachable":             {registry.VerifyReport{Objects: 2, CheckedObjects: 2, Verified: 1, Unreachable: 1, Done: true}, nil, exitFailed},
	} {
		if err := verdict(test.report, test.err); exitCode(err) != test.want {
			t.Errorf("%s: exit code %d (%v), want %d", name, exitCode(err), err, test.want)
		}
	}
}
