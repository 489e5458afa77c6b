package database_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/test/servers"
)

func onPostgres(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	test(t, openCounters(t, servers.Postgres(t)))
}

// terminate ends another connection and waits until it is closed.
func terminate(t *testing.T, db *database.DB, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for alive := true; alive; {
		err := db.Read(t.Context(), func(tx database.Tx) error {
			var done bool
			if err := tx.QueryRowContext(t.Context(), "SELECT pg_terminate_backend($1)", pid).Scan(&done); err != nil {
				return err
			}
			return tx.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid).Scan(&alive)
		})
		if err != nil {
			t.Error(err)
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("connection %d does not end", pid)
			return
		}
	}
}

// Two writers that lock two rows in opposite order: one is rolled back and retried.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) {
		err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "b", 0) })
		if err != nil {
			t.Fatal(err)
		}
		var both, done sync.WaitGroup
		both.Add(2)
		runs := [2]int{}
		for n, names := range [2][2]string{{"a", "b"}, {"b", "a"}} {
			done.Go(func() {
				err := db.Write(t.Context(), func(tx database.Tx) error {
					runs[n]++
					for i, name := range names {
						if _, err := tx.ExecContext(t.Context(), "UPDATE counters SET value = value + 1 WHERE name = $1", name); err != nil {
							return err
						}
						if i == 0 && runs[n] == 1 {
							both.Done()
							both.Wait()
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if a, b := value(t, db, "a"), value(t, db, "b"); a != 2 || b != 2 || runs[0]+runs[1] < 3 {
			t.Errorf("values %d and %d after %v runs", a, b, runs)
		}
	})
}

// A deferred constraint fails at COMMIT: the database says so, and the outcome is known.
func TestRefusedAtCommit(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) {
		err := db.Migrate(t.Context(), "deferred", []string{"CREATE TABLE child (name TEXT REFERENCES counters (name) DEFERRABLE INITIALLY DEFERRED)"})
		if err != nil {
			t.Fatal(err)
		}
		runs := 0
		err = db.Write(t.Context(), func(tx database.Tx) error {
			runs++
			_, err := tx.ExecContext(t.Context(), "INSERT INTO child VALUES ('nobody')")
			return err
		})
		if err == nil || errors.Is(err, database.ErrUnknownOutcome) || runs != 1 {
			t.Errorf("%d runs: %v", runs, err)
		}
	})
}

func TestPostgresPlansForValues(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), servers.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read from
	err = db.Read(t.Context(), func(tx database.Tx) error {
		var mode string
		err := tx.QueryRowContext(t.Context(), "SHOW plan_cache_mode").Scan(&mode)
		if mode != "force_custom_plan" {
			t.Errorf("plan_cache_mode is %q", mode)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
