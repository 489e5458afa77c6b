package view_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestObservedBetweenReplayAndTakingOver: what was found after the replay had come to
// the head, and before observations were taken over, stands; also of a new location.
func TestObservedBetweenReplayAndTakingOver(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		views := opened(t, db)
		log := logOf(t, db, views)
		publish(t, log, "1", 3)
		found := false
		_, err := views.Rebuild(ctx, view.Progress{Replayed: func(uint64, uint64) {
			if found {
				return
			}
			found = true
			publish(t, log, "2", 3)
			must(t, db.Write(ctx, func(tx database.Tx) error {
				digests := []digest.Digest{digest.Of([]byte("10")).SHA256, digest.Of([]byte("20")).SHA256}
				return view.Observe(ctx, tx, backendID, digests, 2, time.Now())
			}))
		}})
		must(t, err)
		must(t, db.Read(ctx, func(tx database.Tx) error {
			var n int
			err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM storage_locations WHERE checked = 2 AND checked_us > 0").Scan(&n)
			if n != 2 {
				t.Errorf("%d of 2 observations are left", n)
			}
			return err
		}))
	})
}

// TestRebuildKeepsGrants: a role that makes backups reads the new tables as it read the old ones.
func TestRebuildKeepsGrants(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, err := database.Open(ctx, servers.Postgres(t))
	must(t, err)
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
	views := opened(t, db)
	publish(t, logOf(t, db, views), "1", 3)
	const role = `"backup's role"`
	must(t, db.Write(ctx, func(tx database.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE ROLE "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role+" WITH GRANT OPTION; GRANT SELECT ON blobs TO PUBLIC")
		return err
	}))
	t.Cleanup(func() {
		must(t, db.Write(ctx, func(tx database.Tx) error {
			_, err := tx.ExecContext(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
			return err
		}))
	})
	grants := func() (text string) {
		must(t, db.Read(ctx, func(tx database.Tx) error {
			return tx.QueryRowContext(ctx, `SELECT string_agg(format('%s %s %s %s', table_name, grantee, privilege_type, is_grantable), E'\n' ORDER BY table_name, grantee, privilege_type)
				FROM information_schema.role_table_grants WHERE table_schema = 'public' AND grantee <> current_user`).Scan(&text)
		}))
		return text
	}
	before := grants()
	_, err = views.Rebuild(ctx, view.Progress{})
	must(t, err)
	if after := grants(); !strings.Contains(before, "packages backup's role SELECT YES") || after != before {
		t.Errorf("the grants are\n%s\nthey were\n%s", after, before)
	}
}

// TestCheckSortsNothing: SQLite would sort in a file of the machine's, as large as the files of a
// package. What has few rows may be sorted.
func TestCheckSortsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "views.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
	opened(t, db)
	queries := view.Compared()
	for _, table := range []string{"packages", "package_files", "blobs", "storage_locations"} {
		must(t, db.Read(ctx, func(tx database.Tx) error {
			rows, err := tx.QueryContext(ctx, "EXPLAIN QUERY PLAN "+queries[table])
			if err != nil {
				return err
			}
			defer rows.Close() //nolint:errcheck // rows.Err tells
			steps := 0
			for ; rows.Next(); steps++ {
				var id, parent, unused int
				var step string
				if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
					return err
				}
				if strings.Contains(step, "TEMP") {
					t.Errorf("%s: %s", table, step)
				}
			}
			if steps == 0 {
				t.Errorf("%s: no plan", table)
			}
			return rows.Err()
		}))
	}
}
