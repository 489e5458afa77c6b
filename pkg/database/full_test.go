package database

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// A full disk is an answer in words. What is stored is read all the same, and writing
// goes on once there is space.
func TestSQLiteFull(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, err := Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the test is over
	if err := db.Migrate(ctx, "eventlog", []string{"CREATE TABLE bytes (id BIGINT PRIMARY KEY, value BYTEA NOT NULL)"}); err != nil {
		t.Fatal(err)
	}
	limit := func(pages string) { // of the one connection that writes
		t.Helper()
		if _, err := db.write.ExecContext(ctx, "PRAGMA max_page_count = "+pages); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(write func(context.Context, func(Tx) error) error, id int) error {
		return write(ctx, func(tx Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO bytes VALUES ($1, $2)", id, make([]byte, 1<<20))
			return err
		})
	}
	limit("20")
	for _, write := range []func(context.Context, func(Tx) error) error{db.Write, db.Group} {
		refused, is := errors.AsType[*UnavailableError](insert(write, 1))
		if !is || !refused.Reads || refused.Reason != reasonFull {
			t.Errorf("writing to a full disk: %v", refused)
		}
	}
	err = db.Read(ctx, func(tx Tx) error {
		var n int
		err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM bytes").Scan(&n)
		if n != 0 {
			t.Errorf("%d rows", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	limit("100000")
	if err := errors.Join(insert(db.Write, 2), insert(db.Group, 3), db.CheckWrites(ctx)); err != nil {
		t.Errorf("with space again: %v", err)
	}
}
