package database

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// InsertRows inserts rows, each with a value for each column, with few statements within
// the engines' limits on parameters. Their lengths are powers of two: a statement that was
// prepared before is not parsed again. suffix ("" or "ON CONFLICT …") ends each statement;
// with DO UPDATE no two rows may have the same key, because they may share a statement.
// Table, columns and suffix are SQL text: they must never come from a request. It returns
// the number of rows inserted or updated.
func InsertRows(ctx context.Context, tx Tx, table string, columns []string, rows [][]any, suffix string) (int64, error) {
	if len(columns) == 0 || len(columns) > maxParameters {
		return 0, fmt.Errorf("inserting into %s: %d columns, expected 1 to %d", table, len(columns), maxParameters)
	}
	perStatement := powerOfTwo(maxParameters / len(columns))
	var total int64
	for len(rows) > 0 {
		n := min(powerOfTwo(len(rows)), perStatement)
		query := insertText(table, columns, n, suffix)
		args := make([]any, 0, n*len(columns))
		for _, row := range rows[:n] {
			if len(row) != len(columns) {
				return total, fmt.Errorf("inserting into %s: a row of %d values for %d columns", table, len(row), len(columns))
			}
			args = append(args, row...)
		}
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return total, fmt.Errorf("inserting into %s: %w", table, err)
		}
		affected, err := result.RowsAffected()
		if err != nil {
			return total, fmt.Errorf("inserting into %s: %w", table, err)
		}
		total += affected
		rows = rows[n:]
	}
	return total, nil
}

// powerOfTwo is the largest one that is at most n.
func powerOfTwo(n int) int { return 1 << (bits.Len(uint(n)) - 1) }

// insertKey is what an insertText depends on, but for its columns.
type insertKey struct {
	table, suffix string
	rows          int
}

type insertEntry struct {
	columns []string
	text    string
}

// insertTexts has an insertEntry for each insertKey that was used: some ten lengths of the
// few that the program has.
var insertTexts sync.Map

func insertText(table string, columns []string, rows int, suffix string) string {
	key := insertKey{table, suffix, rows}
	if known, ok := insertTexts.Load(key); ok {
		if entry := known.(*insertEntry); slices.Equal(entry.columns, columns) {
			return entry.text
		}
	}
	text := makeInsertText(table, columns, rows, suffix)
	insertTexts.Store(key, &insertEntry{slices.Clone(columns), text})
	return text
}

func makeInsertText(table string, columns []string, rows int, suffix string) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES ")
	parameter := 0
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		for column := range columns {
			b.WriteString([]string{"(", ", "}[min(column, 1)])
			parameter++
			b.WriteString("$" + strconv.Itoa(parameter))
		}
		b.WriteByte(')')
	}
	if suffix != "" {
		b.WriteString(" " + suffix)
	}
	return b.String()
}

// Parameters returns "$first, $first+1, …", n of them, for an IN list.
func Parameters(first, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(list, ", ")
}
