package client_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// failing is a registry whose sessions cannot be published.
type failing struct {
	registry.Registry
	err error
}

func (f failing) Publish(context.Context, string, []byte) (registry.Publication, error) {
	return registry.Publication{}, f.err
}

// through is what the client makes of err, which the registry behind it returns.
func through(t *testing.T, err error) error {
	t.Helper()
	wrapped := fmt.Errorf("publishing: %w", err)
	_, got := newClient(t, serve(t, server.NewHandler(failing{err: wrapped}, server.Options{Logger: quiet()}))).Publish(t.Context(), "x", nil)
	return got
}

// sentinels are the errors that the contract lists, by name.
var sentinels = map[string]error{
	"ErrInvalid": registry.ErrInvalid, "ErrNotFound": registry.ErrNotFound, "ErrConflict": registry.ErrConflict,
	"ErrPublished": registry.ErrPublished, "ErrExpired": registry.ErrExpired, "ErrIncomplete": registry.ErrIncomplete,
	"ErrNoReadyBackend": registry.ErrNoReadyBackend, "ErrNoRule": registry.ErrNoRule, "ErrDatabase": registry.ErrDatabase,
	"ErrUnknownOutcome": registry.ErrUnknownOutcome, "ErrFailedLocation": registry.ErrFailedLocation, "ErrAbandoned": registry.ErrAbandoned,
	"ErrUnavailable": registry.ErrUnavailable, "ErrUnauthenticated": registry.ErrUnauthenticated, "ErrForbidden": registry.ErrForbidden,
	"ErrAccessUnknown": registry.ErrAccessUnknown, "ErrFenced": registry.ErrFenced, "ErrRemovalsHeld": registry.ErrRemovalsHeld,
	"ErrLimit": registry.ErrLimit, "ErrStalled": registry.ErrStalled,
}

// TestEverySentinel: what the contract lists, and what the table of the wire
// has, is the same error for errors.Is on the client's side.
func TestEverySentinel(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../registry/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if value, is := node.(*ast.ValueSpec); is {
			for _, name := range value.Names {
				if strings.HasPrefix(name.Name, "Err") {
					listed++
					if sentinels[name.Name] == nil {
						t.Errorf("registry.%s is not in the table of this test", name.Name)
					}
				}
			}
		}
		return true
	})
	if listed != len(sentinels) {
		t.Errorf("the contract lists %d errors, this test %d", listed, len(sentinels))
	}
	all := []error{}
	for _, sentinel := range sentinels {
		all = append(all, sentinel)
	}
	for _, kind := range wire.Kinds {
		if !slices.Contains(all, kind.Target) {
			all = append(all, kind.Target)
		}
	}
	for _, sentinel := range all {
		got := through(t, sentinel)
		for _, other := range all {
			if errors.Is(got, other) != errors.Is(sentinel, other) {
				t.Errorf("%v is %v on the client's side: %t", sentinel, other, errors.Is(got, other))
			}
		}
	}
}

// TestEveryTypedError: errors.As finds the data, and errors.Is the sentinel.
func TestEveryTypedError(t *testing.T) {
	t.Parallel()
	one, other := digest.Of([]byte("a")), digest.Of([]byte("b"))
	explanation := placement.Explanation{Policy: "p", Rule: 2, Reason: "none is ready", Considered: []placement.Considered{{Backend: "b", Reason: "probe failed"}}}
	as(t, &registry.InvalidError{Field: "files[3].path", Message: "must be better"}, registry.ErrInvalid)
	as(t, &registry.ConflictError{Field: "version", Message: "is taken", Existing: one.SHA256}, registry.ErrConflict)
	as(t, &registry.IncompleteError{Count: 12, Paths: []string{"a", "b"}}, registry.ErrIncomplete)
	as(t, &registry.OffsetError{Want: 7, Got: 3}, registry.ErrConflict)
	as(t, &registry.LengthError{Want: 7, Got: 3}, registry.ErrInvalid)
	as(t, &registry.AbandonedError{Backend: "b", BackendID: "id", Position: 12}, registry.ErrAbandoned)
	as(t, &registry.AbandonedError{Backend: "b", BackendID: "id"}, registry.ErrAbandoned)
	as(t, &registry.RemovalsHeldError{Until: time.Date(2026, 12, 13, 0, 0, 0, 0, time.UTC)}, registry.ErrRemovalsHeld)
	as(t, &storage.MismatchError{Want: digest.Dual{SHA256: one.SHA256}, Got: other, WantSize: storage.UnknownSize, GotSize: 1}, storage.ErrMismatch)
	as(t, &storage.MismatchError{WantSize: 3, GotSize: 1, Got: other}, storage.ErrMismatch)
	as(t, &placement.NotReadyError{Explanation: explanation}, registry.ErrNoReadyBackend)
	as(t, &placement.NoRuleError{Explanation: explanation}, registry.ErrNoRule)
	// Where a place is, only those are told who tend it: not who publishes.
	for _, err := range []error{
		&registrar.MarkerError{Kind: registrar.ErrForeignMarker, Message: "bucket b"},
		&registrar.MarkerError{Kind: registrar.ErrNoMarker, Message: "bucket b"},
		&registrar.MarkerError{Kind: registrar.ErrOlderLog, Message: "bucket b"},
	} {
		var marker *registrar.MarkerError
		if got := through(t, err); !errors.As(got, &marker) || marker.Message != "" || !errors.Is(got, errors.Unwrap(err)) {
			t.Errorf("%v: got %v", err, got)
		}
	}
	// What guards a registry is another package, whose data is in the text.
	for sentinel, err := range map[error]error{
		registry.ErrForbidden:       &access.ForbiddenError{Who: "anna", What: access.Action{Verb: access.Create, Resource: access.Packages, Name: "ci"}, Grant: "ask bob"},
		registry.ErrUnauthenticated: &access.UnauthenticatedError{Message: "send a token"},
	} {
		var remote *client.RemoteError
		if got := through(t, err); !errors.Is(got, sentinel) || !errors.As(got, &remote) || remote.Detail != err.Error() || remote.RequestID == "" {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// as sends an error through server and client.
func as[E interface {
	error
	comparable
}](t *testing.T, want E, sentinel error) {
	t.Helper()
	var typed E
	got := through(t, want)
	if !errors.As(got, &typed) || fmt.Sprintf("%+v", typed) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %T %+v, want %T %+v", got, got, want, want)
	}
	if !errors.Is(got, sentinel) {
		t.Errorf("%v is not %v", got, sentinel)
	}
}
