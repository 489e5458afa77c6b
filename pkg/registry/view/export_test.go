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
		fmt.Fprintf(&b, "# %s: %s\n", t.name, t.columns)
		rows, err := tx.QueryContext(ctx, `SELECT `+t.columns+` FROM `+t.name+` ORDER BY `+t.order)
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

// MigrateTo brings the tables to an earlier step.
func MigrateTo(ctx context.Context, db *database.DB, steps int) error {
	return db.Migrate(ctx, "view", schema[:steps])
}
