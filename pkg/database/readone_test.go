package database_test

import (
	"context"
	"errors"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
)

// ReadOne reads what was committed, writes nothing, and takes one statement.
func TestReadOne(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 3) }); err != nil {
			t.Fatal(err)
		}
		read := func(ctx context.Context, statements int) (got int64, err error) {
			err = db.ReadOne(ctx, func(tx database.Tx) error {
				for range statements {
					if err := tx.QueryRowContext(ctx, "SELECT value FROM counters WHERE name = 'a'").Scan(&got); err != nil {
						return err
					}
				}
				return nil
			})
			return got, err
		}
		if got, err := read(t.Context(), 1); got != 3 || err != nil {
			t.Errorf("read %d, %v", got, err)
		}
		if err := db.ReadOne(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 4) }); err == nil || value(t, db, "a") != 3 {
			t.Errorf("a write: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := read(ended, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a second statement ran")
				}
			}()
			_, _ = read(t.Context(), 2)
		}()
		if got, err := read(t.Context(), 1); got != 3 || err != nil { // the connection is back
			t.Errorf("read %d, %v", got, err)
		}
	})
}
