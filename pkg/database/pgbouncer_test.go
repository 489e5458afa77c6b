package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/test/servers"
)

// PgBouncer lends a session for one transaction: a statement that was prepared, or a
// setting of the session, would meet another client.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	address := servers.Postgres(t)
	through := servers.PgBouncer(t, address)
	dbs := []*database.DB{openCounters(t, through), openCounters(t, through)}
	var all sync.WaitGroup
	for n := range 16 {
		db := dbs[n%2]
		all.Go(func() {
			for i := range 10 {
				name := fmt.Sprint(n, " ", i)
				write := func(tx database.Tx) error { return set(t.Context(), tx, name, i) }
				if err := errors.Join(db.Write(t.Context(), write), db.Group(t.Context(), write)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if got := value(t, db, name); got != int64(i) {
					t.Errorf("%s has value %d", name, got)
				}
			}
		})
	}
	all.Wait()
	if err := dbs[0].CheckWrites(t.Context()); err != nil {
		t.Error(err)
	}
	// What the sessions look like to others.
	other, err := sql.Open("pgx", through+"&default_query_exec_mode=exec")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // nothing is lost with it
	var sessions sync.WaitGroup
	for range 12 {
		sessions.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tx, err := other.BeginTx(ctx, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer tx.Rollback() //nolint:errcheck // it only reads
			var mode, commit string
			var prepared int
			err = tx.QueryRowContext(ctx, "SELECT current_setting('plan_cache_mode'), current_setting('synchronous_commit'), (SELECT COUNT(*) FROM pg_prepared_statements)").Scan(&mode, &commit, &prepared)
			if err != nil || mode != "auto" || commit != "off" || prepared != 0 {
				t.Errorf("plan_cache_mode=%s, synchronous_commit=%s, %d prepared statements: %v", mode, commit, prepared, err)
			}
		})
	}
	sessions.Wait()
}
