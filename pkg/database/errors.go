package database

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func beginError(err error) error {
	if err.Error() == "sql: database is closed" { // database/sql has no sentinel for it
		err = ErrClosed
	}
	return fmt.Errorf("beginning a transaction: %w", err)
}

// lostError: the connection, and with it the transaction, ended before COMMIT.
type lostError struct{ cause error }

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// markLost makes err a *lostError if its connection is closed. Asking the connection is
// more reliable than guessing from the error, which may be fn's own.
func markLost(conn *sql.Conn, err error) error {
	if err == nil {
		return nil
	}
	lost := false
	rawErr := conn.Raw(func(inner any) error {
		if pg, ok := inner.(interface{ Conn() *pgx.Conn }); ok {
			lost = pg.Conn().IsClosed()
		}
		return nil
	})
	if lost || errors.Is(rawErr, sql.ErrConnDone) || errors.Is(rawErr, driver.ErrBadConn) {
		return &lostError{err}
	}
	return err
}

// retryable is a positive list. It is used only for errors from before COMMIT, or after
// which the database reports a rollback.
func retryable(err error) bool {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		code := lite.Code() & 0xff // extended codes keep the primary one in the low byte
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "40001", "40P01": // serialization_failure, deadlock_detected
			return true
		case "57P01", "57P02", "57P03", "53300": // shutdown, crash, starting up, too many connections
			return true
		}
	}
	_, lost := errors.AsType[*lostError](err)
	return lost
}

// unavailableError is an ErrUnavailable with its cause.
type unavailableError struct{ cause error }

func (e *unavailableError) Error() string        { return ErrUnavailable.Error() + ": " + e.cause.Error() }
func (e *unavailableError) Unwrap() error        { return e.cause }
func (e *unavailableError) Is(target error) bool { return target == ErrUnavailable }

// markUnavailable makes err an ErrUnavailable if a retry, or any attempt, is pointless.
func markUnavailable(err error) error {
	if _, refused := errors.AsType[*pgconn.ConnectError](err); refused || retryable(err) {
		return &unavailableError{err}
	}
	return err
}

// rolledBack reports whether the database itself has said that this COMMIT failed and
// everything was undone. It is a positive list: a lost connection, a shutdown, or an
// I/O error while the log is synced proves nothing.
func rolledBack(err error) bool {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_FULL:
			return true
		}
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "40001", "40P01", "40002": // serialization_failure, deadlock_detected, transaction_integrity_constraint_violation
			return true
		}
		return strings.HasPrefix(pg.Code, "23") || strings.HasPrefix(pg.Code, "25") // deferred constraint; transaction state
	}
	return errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, sql.ErrTxDone)
}
