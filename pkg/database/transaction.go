package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// Read runs fn in one read-only transaction. All its statements see the same snapshot,
// which the first statement takes. After a lost connection fn is retried.
func (db *DB) Read(ctx context.Context, fn func(tx Tx) error) error {
	options := sql.TxOptions{ReadOnly: true}
	if db.engine == PostgreSQL {
		options.Isolation = sql.LevelRepeatableRead
	}
	return db.retry(ctx, func() error {
		conn, err := db.read.Conn(ctx)
		if err != nil {
			return beginError(err)
		}
		defer conn.Close()
		tx, err := conn.BeginTx(ctx, &options)
		if err != nil {
			return markLost(conn, err)
		}
		defer tx.Rollback() // there is nothing to commit
		return markLost(conn, fn(tx))
	})
}

// Write runs fn in one transaction and commits it if fn returns nil. If Write returns
// nil, the changes are durable; if ErrUnknownOutcome, they may or may not be; with any
// other error nothing was changed.
//
// fn must have no effect outside the transaction: after a deadlock, or a connection lost
// before COMMIT, it is retried a limited number of times. The end of the context does not
// interrupt a running COMMIT.
//
// On SQLite Write is the only writer. On PostgreSQL it is READ COMMITTED: another writer
// may change what fn has read before fn commits, unless fn has first locked a row that
// the other locks too (by an UPDATE).
func (db *DB) Write(ctx context.Context, fn func(tx Tx) error) error {
	return db.retry(ctx, func() error { return db.writeOnce(ctx, fn) })
}

func (db *DB) writeOnce(ctx context.Context, fn func(tx Tx) error) error {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return beginError(err)
	}
	defer conn.Close()
	// database/sql and the drivers would let the caller's context interrupt the
	// COMMIT, and the outcome would be unknown.
	txCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel() // also rolls back, if fn panics
	tx, err := conn.BeginTx(txCtx, nil)
	if err != nil {
		return markLost(conn, err)
	}
	err = fn(tx)
	if err == nil {
		err = ctx.Err()
	}
	if db.engine == PostgreSQL { // the server may not answer at all
		timer := time.AfterFunc(finishTimeout, cancel)
		defer timer.Stop()
	}
	if err != nil {
		_ = tx.Rollback() // if it fails, the connection is lost, and the transaction with it
		return markLost(conn, err)
	}
	if err := tx.Commit(); err != nil {
		// The state of this connection is unknown, so it is not reused.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		if rolledBack(err) {
			return fmt.Errorf("committing: %w", err)
		}
		return &unknownOutcomeError{err}
	}
	return nil
}

// unknownOutcomeError is an ErrUnknownOutcome that does not unwrap to its cause, so that
// it is never taken for an error that may be retried.
type unknownOutcomeError struct{ cause error }

func (e *unknownOutcomeError) Error() string {
	return ErrUnknownOutcome.Error() + ": " + e.cause.Error()
}
func (e *unknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

// retry runs attempt again as long as it fails with an error after which nothing can have
// been committed and another attempt may succeed.
func (db *DB) retry(ctx context.Context, attempt func() error) error {
	for n := 1; ; n++ {
		err := attempt()
		if err == nil || n == maxAttempts || errors.Is(err, ErrUnknownOutcome) || !retryable(err) {
			return db.redact(markBusy(markUnavailable(err)))
		}
		if !retries.Wait(ctx, n) {
			return db.redact(markUnavailable(err))
		}
	}
}

// savepoint runs fn so that its failure undoes only the writes of fn, and returns fn's
// error. If even that fails, the whole transaction is lost: the error is then a
// *brokenError, and the caller must return it from the transaction's function.
func savepoint(ctx context.Context, tx Tx, fn func() error) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT member"); err != nil {
		return &brokenError{err}
	}
	if cause := fn(); cause != nil {
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT member; RELEASE SAVEPOINT member"); err != nil {
			return &brokenError{cause}
		}
		return cause
	}
	if _, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT member"); err != nil {
		return &brokenError{err}
	}
	return nil
}

// brokenError: the whole transaction is lost because of this error.
type brokenError struct{ Cause error }

func (e *brokenError) Error() string { return "the transaction is lost: " + e.Cause.Error() }

func (e *brokenError) Unwrap() error { return e.Cause }

// detached is tx, except that the end of a context does not interrupt a statement: on both
// engines that would abort the whole transaction, and with it the other calls that share
// it.
type detached struct{ tx Tx }

func (d detached) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return d.tx.ExecContext(context.WithoutCancel(ctx), query, args...)
}

func (d detached) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return d.tx.QueryContext(context.WithoutCancel(ctx), query, args...)
}

func (d detached) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return d.tx.QueryRowContext(context.WithoutCancel(ctx), query, args...)
}
