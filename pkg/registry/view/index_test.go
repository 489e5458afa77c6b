package view_test

import (
	"context"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

var generations = regexp.MustCompile(`_g[0-9]+`)

// indexes are those of all tables, as statements, without the generation in their names.
func indexes(t *testing.T, db *database.DB) (all []string) {
	t.Helper()
	ctx := context.Background()
	query := "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
	if db.Engine() == database.PostgreSQL {
		query = "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()"
	}
	must(t, db.Read(ctx, func(tx database.Tx) error {
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			// SQLite quotes the name of a table that was renamed.
			all = append(all, regexp.MustCompile(`"`).ReplaceAllString(generations.ReplaceAllString(text, ""), ""))
		}
		return rows.Err()
	}))
	slices.Sort(all)
	return all
}

// TestRebuildMakesTheIndexes, which come after the rows.
func TestRebuildMakesTheIndexes(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		views := opened(t, db)
		log := logOf(t, db, views)
		publish(t, log, "1", 3)
		before := indexes(t, db)
		if len(before) < 5 {
			t.Fatalf("only %q", before)
		}
		for range 2 {
			_, err := views.Rebuild(context.Background(), view.Progress{})
			must(t, err)
			if diff := cmp.Diff(before, indexes(t, db)); diff != "" {
				t.Error(diff)
			}
		}
	})
}
