// Package database opens SQLite or PostgreSQL, migrates, and runs transactions. Only
// this package knows which engine is in use.
//
// One set of SQL text serves both engines: parameters are $1, $2, …;
// columns are BIGINT, TEXT and BYTEA; ON CONFLICT and RETURNING work, FOR
// UPDATE does not (update the row first instead). TEXT cannot hold NUL, and a
// nil []byte is NULL.
package database

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
)

// Engine is the kind of database behind a DB. Only messages and tests should need it.
type Engine string

// The engines.
const (
	SQLite     Engine = "sqlite"
	PostgreSQL Engine = "postgresql"
)

// ErrUnknownOutcome: the connection was lost, or time ran out, during COMMIT. The
// transaction may or may not have been committed.
var ErrUnknownOutcome = errors.New("the outcome of the transaction is unknown")

// ErrUnavailable: the database does not answer, or answers that it is busy, shutting
// down, read-only or full. Nothing was changed. Always an *UnavailableError.
var ErrUnavailable = errors.New("the database does not answer")

// ErrClosed: the DB was closed.
var ErrClosed = errors.New("the database is closed")

// Tx runs statements inside a transaction. Like *sql.Tx, it may be used by one
// goroutine at a time, and Rows must be closed before the next statement.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// DB is an open database. All methods may be called concurrently.
//
// Reads and writes use separate connections, so a Read inside a Write (which does not
// see that Write's changes) cannot deadlock. A Write inside a Write can, and is
// forbidden.
type DB struct {
	engine Engine
	write  *sql.DB
	read   *sql.DB
	redact func(error) error
	group  *Group
	gated  *atomic.Bool // Reads of PostgreSQL hold the lock of HoldReads
	writes writes

	file *file // of SQLite

	// Of PostgreSQL.
	silence silence
	newest  atomic.Pointer[history] // of the server that was used last; nil at first
}

// Engine returns the kind of database.
func (db *DB) Engine() Engine { return db.engine }

// Analyze updates the planner's statistics of a table that has just grown by thousands
// of rows. PostgreSQL does so itself within about a minute; until then it treats a new
// table as a small one, and reads all of it for each lookup. SQLite needs no Analyze.
// Table is SQL text: it must never come from a request.
func (db *DB) Analyze(ctx context.Context, table string) error {
	if db.engine != PostgreSQL {
		return nil
	}
	return db.Write(Patient(ctx), func(tx Tx) error {
		_, err := tx.ExecContext(ctx, "ANALYZE "+table)
		return err
	})
}

// Close waits for the running transactions of Group, then closes all connections.
// Transactions of Read and Write must have ended.
func (db *DB) Close() error {
	db.group.Close()
	return db.redact(errors.Join(db.read.Close(), db.write.Close()))
}

// Collect reads all rows of a query, whose results are rows and err, and closes them.
func Collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
