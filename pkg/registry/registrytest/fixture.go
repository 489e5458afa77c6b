// Package registrytest is the contract of registry.Registry as a test: the
// same cases against the Service, and against the HTTP client with a handler
// and a Service behind it.
package registrytest

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// The backends of a fixture, and the retention class that goes to the second.
const (
	First       = "first"
	Second      = "second"
	SecondClass = "archive"
)

// Fixture is a fresh registry with two ready backends, and hands behind its
// back. Everything goes to First, but the retention class SecondClass.
type Fixture struct {
	Registry registry.Registry
	// Advance moves the registry's clock.
	Advance func(d time.Duration)
	// SetReady declares First ready or not.
	SetReady func(ready bool)
	// Damage changes a byte of the blob in First; Remove deletes it there.
	Damage, Remove func(t *testing.T, sha256 digest.Digest)
	// Age lets the blob in First look as if it had been stored that long ago.
	Age func(t *testing.T, sha256 digest.Digest, by time.Duration)
	// Store is First itself, for who reads it beside the registry.
	Store storage.Backend
	// Check replays the log and compares the views; nil where the caller has other means.
	Check func(t *testing.T)
}

// OpenService returns a Fixture of a service.Service on the database (""
// is SQLite in a temporary folder) and two local backends. It is closed with the test.
func OpenService(t *testing.T, databaseURL string) Fixture {
	t.Helper()
	ctx, folder := context.Background(), t.TempDir()
	if databaseURL == "" {
		databaseURL = "sqlite://" + filepath.Join(folder, "registry.db")
	}
	db, err := database.Open(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
	clock := &clock{}
	table := routing.New()
	service, err := service.Open(ctx, service.Options{
		Database: db, Placer: table, Now: clock.now, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() }) //nolint:errcheck // a test's
	snapshot := routing.Snapshot{Rules: []routing.Rule{
		{Policy: "test", Index: 0, RetentionClasses: []string{SecondClass}, Backends: []string{Second}},
		{Policy: "test", Index: 1, Backends: []string{First}},
	}}
	stores := map[string]storage.Backend{}
	for _, name := range []string{First, Second} {
		store, err := local.Open(ctx, local.Config{Path: filepath.Join(folder, name), Create: true}, buffer.Default())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() }) //nolint:errcheck // a test's
		stores[name] = store
		id, err := service.RegisterBackend(ctx, name, "local", filepath.Join(folder, name), store)
		if err != nil {
			t.Fatal(err)
		}
		snapshot.Backends = append(snapshot.Backends, placement.Backend{ID: id, Name: name, Driver: "local", Ready: true, Store: store})
	}
	table.Swap(snapshot)
	object := func(sha256 digest.Digest) string { return filepath.Join(folder, First, storage.Key(sha256)) }
	return Fixture{
		Registry: service,
		Advance:  clock.advance,
		Store:    stores[First],
		SetReady: func(ready bool) {
			changed := snapshot
			changed.Backends = append([]placement.Backend(nil), snapshot.Backends...)
			changed.Backends[0].Ready = ready
			if !ready {
				changed.Backends[0].Reason, changed.Backends[0].Message = "ProbeFailed", "the test says so"
			}
			table.Swap(changed)
		},
		Damage: func(t *testing.T, sha256 digest.Digest) { damage(t, object(sha256)) },
		Age: func(t *testing.T, sha256 digest.Digest, by time.Duration) {
			then := time.Now().Add(-by)
			if err := os.Chtimes(object(sha256), then, then); err != nil {
				t.Fatal(err)
			}
		},
		Remove: func(t *testing.T, sha256 digest.Digest) {
			if err := os.Remove(object(sha256)); err != nil {
				t.Fatal(err)
			}
		},
		Check: func(t *testing.T) {
			if _, err := view.New(db).Check(context.Background(), view.Progress{}); err != nil {
				t.Errorf("the views are not what the log says: %v", err)
			}
		},
	}
}

func damage(t *testing.T, object string) {
	t.Helper()
	data, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Chmod(object, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// clock is the real one, moved.
type clock struct {
	mu    sync.Mutex
	moved time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.moved)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}
