package view

import (
	"context"
	"fmt"
	"strings"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Dump writes every row of every table as text.
func Dump(ctx context.Context, tx database.Tx) (string, error) {
	var b strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&b, "# %s: %s\n", t.name, strings.Join(t.columns, ", "))
		order := t.order
		if t.name == "package_files" {
			order = "package, number" // engines order text differently
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+strings.Join(t.columns, ", ")+` FROM `+t.name+` ORDER BY `+order)
		if err != nil {
			return "", err
		}
		for rows.Next() {
			row, err := scanAny(rows, true)
			if err != nil {
				return "", err
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
	for _, t := range tables {
		queries[t.name] = comparison{columns: strings.Join(t.columns, ", "), order: t.order}.query(t.name)
	}
	return queries
}

// MigrateTo brings the tables to an earlier step.
func MigrateTo(ctx context.Context, db *database.DB, steps int) error {
	return db.Migrate(ctx, "view", schema[:steps])
}

// Migrate brings the tables to version 1, all that the steps lead to.
func Migrate(ctx context.Context, db *database.DB) error { return db.Migrate(ctx, "view", schema) }

// Pretend has v want a version that brings the column, and that programs of a level know.
func (v *Views) Pretend(version int64, column string, level int) {
	v.layout = layout{version: version, level: level, create: create, since: map[string]int64{column: version}}
}

// Claim takes the claim as a rebuild does, and makes its tables, as one that is killed then leaves them.
func (v *Views) Claim(ctx context.Context) (write func(func(tx database.Tx) error) error, table func(string) string, err error) {
	c, err := acquire(ctx, v.db, nil)
	if err != nil {
		return nil, nil, err
	}
	r, err := newReplay(ctx, c, v.layout, nil)
	return func(fn func(tx database.Tx) error) error { return c.write(ctx, fn) }, r.into.of, err
}

// ErrClaimLost is what a rebuild ends with that was still for too long.
var ErrClaimLost = errClaimLost
