package view

import (
	"context"
	"fmt"
	"strings"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// Current is the version of the tables that this program makes.
const Current = fold.Counted

// Dump writes every row of every table as text.
func Dump(ctx context.Context, tx database.Tx) (string, error) {
	var b strings.Builder
	gaveUp, err := fold.AllAbandonments(ctx, tx, fold.Names{})
	if err != nil {
		return "", err
	}
	version, err := Version(ctx, tx)
	if err != nil {
		return "", err
	}
	for _, t := range fold.Tables {
		if t.Since > version {
			continue
		}
		fmt.Fprintf(&b, "# %s: %s\n", t.Name, strings.Join(t.Columns, ", "))
		order := t.Order
		if t.Name == "package_files" {
			order = "package, number" // engines order text differently
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+strings.Join(t.Columns, ", ")+` FROM `+t.Name+` ORDER BY `+order)
		if err != nil {
			return "", err
		}
		for rows.Next() {
			row := make([]any, len(t.Columns))
			if err := scan(rows, row, make([]any, len(row))); err != nil {
				return "", err
			}
			if t.Name == "storage_locations" {
				gaveUp.Settle(row)
			}
			b.WriteString(show(row) + "\n")
		}
		if err := rows.Close(); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// Compared are the queries by which Check reads the tables that serve, by table.
func Compared() map[string]string {
	queries := make(map[string]string)
	for _, t := range fold.Tables {
		queries[t.Name] = comparison{columns: strings.Join(t.Columns, ", "), order: t.Order}.query(t.Name)
	}
	return queries
}

// MigrateTo brings the tables to an earlier step.
func MigrateTo(ctx context.Context, db *database.DB, steps int) error {
	return db.Migrate(ctx, "view", fold.Schema[:steps])
}

// Migrate brings the tables to version 1, all that the steps lead to.
func Migrate(ctx context.Context, db *database.DB) error { return db.Migrate(ctx, "view", fold.Schema) }

// Pretend has v want a version that brings the column, and that programs of a level know.
func (v *Views) Pretend(version int64, column string, level int) {
	v.layout = fold.Layout{Version: version, Level: level, Create: fold.Current.Create, Since: map[string]int64{column: version}}
}

// Claim takes the claim as a rebuild does, and makes its tables, as one that is killed then leaves them.
func (v *Views) Claim(ctx context.Context) (write func(func(tx database.Tx) error) error, table func(string) string, err error) {
	c, err := acquire(ctx, v.db, nil)
	if err != nil {
		return nil, nil, err
	}
	r, err := newReplay(ctx, c, v.layout, nil)
	return func(fn func(tx database.Tx) error) error { return c.write(ctx, fn) }, r.into.Of, err
}

// ErrClaimLost is what a rebuild ends with that was still for too long.
var ErrClaimLost = errClaimLost
