package main

import (
	"database/sql"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestStartBesideALock: a manager that begins while another connection hangs in the
// log waits for it, and does not end.
func TestStartBesideALock(t *testing.T) {
	t.Parallel()
	url, folder := servers.Postgres(t), t.TempDir()
	args := []string{"--config-dir", folder, "--data-dir", t.TempDir(), "--database", url}
	if err := programs.StartManager(t, args, nil).Stop(); err != nil { // makes the tables
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test's
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE events, log_head IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	released := make(chan time.Time, 1)
	go func() {
		time.Sleep(6 * time.Second) // longer than a statement waits for a lock
		released <- time.Now()
		tx.Rollback() //nolint:errcheck // it has done nothing
	}()
	args[3] = t.TempDir()
	m := programs.StartManager(t, args, nil)
	select {
	case <-released:
	default:
		t.Error("it began before the lock was released")
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
}
