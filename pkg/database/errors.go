package database

import (
	"cmp"
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
	err = fmt.Errorf("beginning a transaction: %w", err)
	if errors.Is(err, driver.ErrBadConn) { // every connection that the pool tried was stale
		return &lostError{err}
	}
	return err
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
		case "25P03", "25P04": // we were stopped for idleInTransaction, or the server bounds transactions
			return true
		}
	}
	_, lost := errors.AsType[*lostError](err)
	return lost
}

// UnavailableError is an ErrUnavailable with its cause.
type UnavailableError struct {
	// Reason says why in words for users, "" if the database just does not answer.
	Reason string
	// Reads: only writing is refused.
	Reads bool
	cause error
}

func (e *UnavailableError) Error() string {
	return cmp.Or(e.Reason, ErrUnavailable.Error()) + ": " + e.cause.Error()
}

func (e *UnavailableError) Unwrap() error { return e.cause }

// Is makes it an ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// isFull reports whether the database has no space.
func isFull(err error) bool {
	refused, is := errors.AsType[*UnavailableError](err)
	return is && refused.Reason == reasonFull
}

// RefuseWrites returns an ErrUnavailable of a caller that may not write to what it found.
func RefuseWrites(reason string, cause error) error {
	return &UnavailableError{Reason: reason, Reads: true, cause: cause}
}

// markUnavailable makes err an ErrUnavailable if a retry, or any attempt, is pointless.
func markUnavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || err == nil {
		return err
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return &UnavailableError{Reason: reasonDamaged, cause: err}
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
			return &UnavailableError{Reason: "the database's file cannot be read", cause: err}
		case sqlite3.SQLITE_FULL: // what is sorted is written as well
			return &UnavailableError{Reason: reasonFull, cause: err}
		}
	}
	code := pgCode(err)
	switch _, refused := errors.AsType[*pgconn.ConnectError](err); {
	case errors.Is(err, errOldCopy):
		return &UnavailableError{Reason: reasonOldCopy, cause: err}
	case errors.Is(err, errOther):
		return &UnavailableError{Reason: reasonOther, cause: err}
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return &UnavailableError{Reason: reasonReadOnly, Reads: true, cause: err}
	case refused && code != "" && !retryable(err):
		return &UnavailableError{Reason: "the database refuses connections (" + code + ")", cause: err}
	case refused, retryable(err):
		return &UnavailableError{cause: err}
	}
	switch {
	case code == diskFull: // what is sorted is written as well
		return &UnavailableError{Reason: reasonFull, cause: err}
	case code == denied:
		return &UnavailableError{Reason: reasonDenied, cause: err}
	case code == "42P01": // undefined_table: pg_restore --clean drops each before it makes it again
		return &UnavailableError{Reason: "the database lacks a table (42P01): is it being restored?", cause: err}
	case code == "57014": // query_canceled: our own contexts close the connection instead
		return &UnavailableError{Reason: "the database canceled a statement (statement_timeout)", cause: err}
	case code != "" && strings.Contains("08 53 57 58 XX", code[:2]): // classes: connections, resources, operators, system, internal
		return &UnavailableError{Reason: "the database reports an error of its own (" + code + ")", cause: err}
	}
	return err
}

const (
	readOnlyTransaction = "25006"
	denied              = "42501" // insufficient_privilege
	diskFull            = "53100"
	reasonReadOnly      = "the database is read-only"
	reasonOldCopy       = "the database is an old primary: another server was promoted since"
	reasonOther         = "the database is another cluster than before, as after pg_upgrade: restart the manager if it is the one to use"
	reasonFull          = "the database has no space left"
	reasonDenied        = "the database denies its user a permission (" + denied + ")"
	reasonDamaged       = "the database's file is damaged"
	reasonMoved         = "the database's file was removed or replaced while it was open: restart the manager to use the one that is there now"
)

// refusedWrite makes err an ErrUnavailable if the database takes no writes now.
func refusedWrite(err error) error {
	reason := ""
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			reason = reasonFull
		case sqlite3.SQLITE_READONLY:
			reason = reasonReadOnly
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
			reason = "the database's file cannot be written"
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			reason = reasonDamaged
		}
	}
	switch pgCode(err) {
	case readOnlyTransaction:
		reason = reasonReadOnly
	case diskFull:
		reason = reasonFull
	case denied: // some providers take rights away when a disk is full
		reason = reasonDenied
	}
	if reason == "" {
		return err
	}
	return &UnavailableError{Reason: reason, Reads: true, cause: err}
}

// IsFault reports whether err comes from the database, or from the lack of one.
func IsFault(err error) bool {
	_, lite := errors.AsType[*sqlite.Error](err)
	return lite || pgCode(err) != "" || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome)
}

// pgCode returns PostgreSQL's code of an error, "" if it has none.
func pgCode(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// rolledBack reports whether the database itself has said that this COMMIT failed and
// everything was undone. It is a positive list: a lost connection, a shutdown, or an
// I/O error while the log is synced proves nothing.
func rolledBack(err error) bool {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY:
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
