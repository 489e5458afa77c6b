package eventlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// The database is put back, or becomes another one, while the log is open. Nothing is
// appended to what is not the log that was known.
func TestAnotherLog(t *testing.T) {
	t.Parallel()
	for name, fresh := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			db, err := database.Open(ctx, fresh(t))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close() //nolint:errcheck // the test is over
			log, err := eventlog.Open(ctx, db, nil, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close() //nolint:errcheck // never fails
			event := func(context.Context, database.Tx) ([]eventlog.Event, error) {
				return []eventlog.Event{{Kind: "v1.test.happened", Actor: "a", Payload: []byte{1}}}, nil
			}
			appends := func(log *eventlog.Log) {
				t.Helper()
				if _, err := log.Append(ctx, event); err != nil {
					t.Fatal(err)
				}
			}
			do := func(statements ...string) {
				t.Helper()
				if err := db.Write(ctx, func(tx database.Tx) error {
					for _, statement := range statements {
						if _, err := tx.ExecContext(ctx, statement); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			refuses := func(when string) {
				t.Helper()
				_, appending := log.Append(ctx, event)
				for what, err := range map[string]error{"Append": appending, "CheckHead": log.CheckHead(ctx)} {
					if refused, is := errors.AsType[*database.UnavailableError](err); !is || !refused.Reads || refused.Reason == "" {
						t.Errorf("%s, %s: %v", when, what, err)
					}
				}
			}
			appends(log)
			do("CREATE TABLE backup AS SELECT * FROM log_head", "CREATE TABLE backup_events AS SELECT * FROM events")
			appends(log)
			appends(log)
			if err := log.CheckHead(ctx); err != nil {
				t.Error(err)
			}

			do("CREATE TABLE kept AS SELECT * FROM log_head", "CREATE TABLE kept_events AS SELECT * FROM events",
				"DELETE FROM log_head", "DELETE FROM events", "INSERT INTO log_head SELECT * FROM backup", "INSERT INTO events SELECT * FROM backup_events")
			refuses("restored from a backup")
			other, err := eventlog.Open(ctx, db, nil, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close() //nolint:errcheck // never fails
			for range 3 {       // a program that began with the backup goes on
				appends(other)
			}
			refuses("after others went on")

			do("DELETE FROM log_head", "DELETE FROM events", "INSERT INTO log_head SELECT * FROM kept", "INSERT INTO events SELECT * FROM kept_events")
			if err := log.CheckHead(ctx); err != nil {
				t.Error(err)
			}
			appends(log)
			do("UPDATE log_head SET log_id = 'another'")
			refuses("in another database")
		})
	}
}
