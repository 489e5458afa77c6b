package view_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/test/servers"
)

// engines runs a test on a fresh database of each engine.
func engines(t *testing.T, test func(t *testing.T, db *database.DB)) {
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "views.db") },
		"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(context.Background(), url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
			test(t, db)
		})
	}
}

// opened has the tables made, and the log's.
func opened(t *testing.T, db *database.DB) *view.Views {
	t.Helper()
	log, err := eventlog.Open(context.Background(), db, nil, time.Now, eventlog.Knows(event.Level))
	must(t, err)
	must(t, log.Close())
	views := view.New(db)
	must(t, views.Open(context.Background()))
	return views
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestHoldersOfAnOldDatabase: what was published before the views knew who
// holds a blob is known after the upgrade.
func TestHoldersOfAnOldDatabase(t *testing.T) {
	t.Parallel()
	blob, manifest := digest.Of([]byte("blob")), digest.Of([]byte("manifest"))
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		must(t, view.MigrateTo(ctx, db, 1))
		must(t, db.Write(ctx, func(tx database.Tx) error {
			for i, producer := range []string{"b", "a", "b"} {
				if _, err := tx.ExecContext(ctx, `INSERT INTO packages VALUES ($1, $2, 'n', $3, $4, 1, 'r', 'hot', '', '{}', 1, 4, 0, 'x', 'id')`,
					i+1, producer, fmt.Sprint(i), digest.Of([]byte{byte(i)}).SHA256.Bytes()); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, `INSERT INTO package_files VALUES ($1, 0, 'f', $2, 0, '')`, i+1, blob.SHA256.Bytes()); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, `UPDATE packages SET manifest_sha256 = $1 WHERE position = 1`, manifest.SHA256.Bytes())
			return err
		}))
		must(t, view.Migrate(ctx, db))
		must(t, db.Read(ctx, func(tx database.Tx) error {
			for _, c := range []struct {
				name  digest.Digest
				limit int
				want  []string
			}{
				{blob.SHA256, 10, []string{"a", "b"}},
				{blob.SHA256, 1, []string{"a"}},
				{manifest.SHA256, 10, []string{"b"}},
				{digest.Of(nil).SHA256, 10, nil},
			} {
				if got, err := view.ListHolders(ctx, tx, c.name, c.limit); err != nil || !slices.Equal(got, c.want) {
					t.Errorf("%s, at most %d: got %q, %v, want %q", c.name, c.limit, got, err, c.want)
				}
			}
			for producer, want := range map[string]bool{"a": true, "b": true, "c": false} {
				if got, err := view.Holds(ctx, tx, producer, blob.SHA256); err != nil || got != want {
					t.Errorf("%s holds the blob: %v, %v", producer, got, err)
				}
			}
			if got, err := view.Holds(ctx, tx, "a", manifest.SHA256); err != nil || got {
				t.Errorf("a holds b's manifest: %v, %v", got, err)
			}
			if _, err := view.SHA256Of(ctx, tx, blob.BLAKE3); !errors.Is(err, view.ErrNotFound) { // the blobs table is empty here
				t.Errorf("a blob that is none: %v", err)
			}
			return nil
		}))
	})
}

// TestListProducers asks from names that are there and that are not.
func TestListProducers(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		must(t, view.Migrate(ctx, db))
		must(t, db.Write(ctx, func(tx database.Tx) error {
			for i, producer := range []string{"c", "a", "b", "a", "e"} {
				if _, err := tx.ExecContext(ctx, `INSERT INTO packages VALUES ($1, $2, 'n', $3, $4, 1, 'r', 'hot', '', '{}', 1, 4, 0, 'x', 'id')`,
					i+1, producer, fmt.Sprint(i), []byte{1}); err != nil {
					return err
				}
			}
			return nil
		}))
		must(t, db.Read(ctx, func(tx database.Tx) error {
			for _, c := range []struct {
				from  string
				limit int
				want  []string
			}{
				{"", 10, []string{"a", "b", "c", "e"}}, {"b", 2, []string{"b", "c"}}, {"d", 10, []string{"e"}}, {"f", 10, nil},
			} {
				if got, err := view.ListProducers(ctx, tx, c.from, c.limit); err != nil || !slices.Equal(got, c.want) {
					t.Errorf("from %q, at most %d: got %q, %v, want %q", c.from, c.limit, got, err, c.want)
				}
			}
			return nil
		}))
	})
}
