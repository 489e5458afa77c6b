package service_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// A replica beside which a newer one has written something unknown serves
// nothing any more, neither writes nor reads, and does not start again.
func TestFencedReplica(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			ctx, address := t.Context(), url(t)
			if address == "" {
				address = "sqlite://" + filepath.Join(t.TempDir(), "registry.db")
			}
			db, err := database.Open(ctx, address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
			options := service.Options{Database: db, Placer: routing.New()}
			replica, err := service.Open(ctx, options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { replica.Close() }) //nolint:errcheck // a test's
			if err := replica.CheckFence(ctx); err != nil {
				t.Fatalf("nobody has raised the fence: %v", err)
			}
			raiseFence(t, db)
			if _, err := replica.Health(ctx); err != nil {
				t.Fatalf("it has not looked at the fence: %v", err)
			}
			calls := map[string]func() error{
				"a look at the fence": func() error { return replica.CheckFence(ctx) },
				"reading": func() error {
					_, err := replica.GetPackage(ctx, registry.PackageRef{Producer: "p", Name: "n", Version: "1"})
					return err
				},
				"following": func() error {
					return replica.FollowEvents(ctx, registry.EventQuery{}, func(registry.Event) error { return nil })
				},
				"writing": func() error { return replica.AbandonUpload(ctx, "00000000-0000-0000-0000-000000000000") },
			}
			if err := calls["a look at the fence"](); !errors.Is(err, registry.ErrFenced) {
				t.Fatalf("a look at the fence: %v", err)
			}
			for name, call := range calls {
				if err := call(); !errors.Is(err, registry.ErrFenced) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if again, err := service.Open(ctx, options); !errors.Is(err, eventlog.ErrFenced) {
				t.Errorf("it started again: %v, %v", again, err)
			}
		})
	}
}

// raiseFence is what a newer program does.
func raiseFence(t *testing.T, db *database.DB) {
	t.Helper()
	newer, err := eventlog.Open(t.Context(), db, nil, time.Now, eventlog.Knows(event.Level+1))
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close() //nolint:errcheck // does not fail
	if _, err := newer.Append(t.Context(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
		return []eventlog.Event{{Kind: "v9.test.happened", Level: event.Level + 1}}, nil
	}); err != nil {
		t.Fatal(err)
	}
}
