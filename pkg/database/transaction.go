package database

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Read runs fn in one read-only transaction. All its statements see the same snapshot,
// which the first statement takes. After a lost connection fn is retried.
func (db *DB) Read(ctx context.Context, fn func(tx Tx) error) error {
	return db.reading(ctx, func(conn *sql.Conn) error { return db.readIn(ctx, conn, fn) })
}

// ReadSmall is Read for look-ups by key. The end of the context does not interrupt its
// statements: watching it costs more than one of them takes.
func (db *DB) ReadSmall(ctx context.Context, fn func(tx Tx) error) error {
	return db.reading(ctx, func(conn *sql.Conn) error {
		return db.readIn(context.WithoutCancel(ctx), conn, func(tx Tx) error { return fn(detached{tx}) })
	})
}

// ReadOne is ReadSmall of an fn that runs one statement. On SQLite that is a snapshot by
// itself, and no transaction is needed.
func (db *DB) ReadOne(ctx context.Context, fn func(tx Tx) error) error {
	if db.engine != SQLite { // beginRead has more to do than to begin
		return db.ReadSmall(ctx, func(tx Tx) error { return fn(&only{tx: tx}) })
	}
	return db.reading(ctx, func(conn *sql.Conn) error { return fn(&only{tx: db.traced(detached{conn})}) })
}

// reading runs fn with a connection for reads, again if it is lost.
func (db *DB) reading(ctx context.Context, fn func(conn *sql.Conn) error) error {
	return db.retry(ctx, func(until time.Time) error {
		conn, err := db.take(ctx, db.read, until)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := db.inPlace(); err != nil {
			return err
		}
		return markLost(conn, fn(conn))
	})
}

func (db *DB) readIn(ctx context.Context, conn *sql.Conn, fn func(tx Tx) error) error {
	tx, err := db.begin(ctx, conn, true)
	if err != nil {
		return err
	}
	defer tx.Rollback() // there is nothing to commit
	return fn(db.traced(tx))
}

// transaction is one of a connection. Rollback does nothing after Commit.
type transaction interface {
	Tx
	Commit() error
	Rollback() error
}

func (db *DB) begin(ctx context.Context, conn *sql.Conn, readOnly bool) (transaction, error) {
	if db.engine == SQLite {
		return beginLite(ctx, conn, readOnly)
	}
	return conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: readOnly})
}

// liteTx is a transaction of SQLite. Those of database/sql start a goroutine each, and
// one for each of their queries, to watch for the end of a context.
type liteTx struct {
	*sql.Conn
	ended bool
}

// beginLite begins one. The end of the context does not interrupt BEGIN: a wait for the
// lock ends after busyTimeout.
func beginLite(ctx context.Context, conn *sql.Conn, readOnly bool) (*liteTx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	begin := "BEGIN IMMEDIATE"
	if readOnly {
		begin = "BEGIN"
	}
	_, err := conn.ExecContext(context.WithoutCancel(ctx), begin)
	return &liteTx{Conn: conn}, err
}

// Commit leaves the connection outside a transaction, also if it fails. The end of a
// context does not interrupt it.
func (t *liteTx) Commit() error {
	_, err := t.ExecContext(context.Background(), "COMMIT")
	if err != nil {
		_ = t.Rollback()
	}
	t.ended = true
	return err
}

// Rollback undoes everything, unless the transaction has ended.
func (t *liteTx) Rollback() error {
	if t.ended {
		return sql.ErrTxDone
	}
	t.ended = true
	_, err := t.ExecContext(context.Background(), "ROLLBACK")
	return err
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
	err := db.retry(ctx, func(until time.Time) error { return db.writeOnce(ctx, until, fn) })
	if ctx.Err() == nil {
		db.writes.ended(err)
	}
	return err
}

func (db *DB) writeOnce(ctx context.Context, until time.Time, fn func(tx Tx) error) error {
	conn, err := db.take(ctx, db.write, until)
	if err != nil {
		return err
	}
	defer conn.Close()
	// database/sql and the drivers would let the caller's context interrupt the
	// COMMIT, and the outcome would be unknown.
	txCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	tx, err := db.begin(txCtx, conn, false)
	if err != nil {
		return markLost(conn, err)
	}
	defer tx.Rollback() // if fn panics
	err = fn(db.traced(tx))
	if err == nil {
		err = cmp.Or(ctx.Err(), db.inPlace())
	}
	if err != nil {
		_ = tx.Rollback() // if it fails, the connection is lost, and the transaction with it
		if pgCode(err) == readOnlyTransaction {
			discard(conn) // it leads to a server that became a standby; a new one may lead elsewhere
		}
		return markLost(conn, refusedWrite(err))
	}
	if err := tx.Commit(); err != nil {
		discard(conn) // its state is unknown
		if rolledBack(err) {
			return fmt.Errorf("committing: %w", refusedWrite(err))
		}
		return &unknownOutcomeError{err}
	}
	return nil
}

// take waits for a connection until a time, unless the context is Patient. SQLite has one
// that writes, for which there is always a queue: it is waited for a little longer.
func (db *DB) take(ctx context.Context, from *sql.DB, until time.Time) (*sql.Conn, error) {
	waiting, began := ctx, time.Now()
	if db.engine == SQLite {
		until = until.Add(giveUp)
	}
	if !isPatient(ctx) {
		var cancel context.CancelFunc
		waiting, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	conn, err := from.Conn(waiting)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() == nil && waiting.Err() != nil:
		return nil, &UnavailableError{cause: fmt.Errorf("no connection within %s: %w", time.Since(began).Round(time.Second), err)}
	}
	return nil, beginError(err)
}

// discard closes the connection instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

type patientKey struct{}

// Patient returns a context for transactions of which one statement may take minutes,
// or wait so long for a lock: migrations, rebuilds. Others end after seconds.
func Patient(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}

func isPatient(ctx context.Context) bool { return ctx.Value(patientKey{}) != nil }

// unknownOutcomeError is an ErrUnknownOutcome that does not unwrap to its cause, so that
// it is never taken for an error that may be retried.
type unknownOutcomeError struct{ cause error }

func (e *unknownOutcomeError) Error() string {
	return ErrUnknownOutcome.Error() + ": " + e.cause.Error()
}
func (e *unknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

// retry runs attempt again as long as it fails with an error after which nothing can have
// been committed and another attempt may succeed. attempt gets the time until which it
// may wait for a connection.
func (db *DB) retry(ctx context.Context, attempt func(until time.Time) error) error {
	until := time.Now().Add(giveUp)
	for n := 1; ; n++ {
		err := attempt(until)
		// A patient caller wants to know of a lock that others hold.
		waited := lockTimedOut(err) && !isPatient(ctx)
		if err == nil || errors.Is(err, ErrUnknownOutcome) || !retryable(err) && !waited {
			return db.redact(markBusy(markUnavailable(err)))
		}
		late := !isPatient(ctx) && time.Now().After(until)
		if n >= maxAttempts || late || !retries.Wait(ctx, n) {
			if err = markUnavailable(err); !errors.Is(err, ErrUnavailable) {
				err = &UnavailableError{cause: err}
			}
			return db.redact(err)
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
		if refused := beyondOne(cause); refused != nil {
			return &brokenError{refused}
		}
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

// beyondOne returns the error of all members of a transaction if a member's is not its
// own alone: another attempt may succeed, or no other member can.
func beyondOne(err error) error {
	if refused := refusedWrite(err); errors.Is(refused, ErrUnavailable) || retryable(err) || lockTimedOut(err) {
		return refused
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

// trace is called before each statement; nil if nobody wants to know.
var trace atomic.Pointer[func(ctx context.Context, engine Engine, tx Tx, query string, args []any)]

// Trace has a function called before each statement of every database of the process, in
// its transaction; nil ends that. It is for tests that ask how statements are run.
func Trace(fn func(ctx context.Context, engine Engine, tx Tx, query string, args []any)) {
	if fn == nil {
		trace.Store(nil)
	} else {
		trace.Store(&fn)
	}
}

func (db *DB) traced(tx Tx) Tx {
	if fn := trace.Load(); fn != nil {
		return tracing{tx, func(ctx context.Context, query string, args []any) { (*fn)(ctx, db.engine, tx, query, args) }}
	}
	return tx
}

type tracing struct {
	tx    Tx
	trace func(ctx context.Context, query string, args []any)
}

func (t tracing) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.trace(ctx, query, args)
	return t.tx.ExecContext(ctx, query, args...)
}

func (t tracing) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.trace(ctx, query, args)
	return t.tx.QueryContext(ctx, query, args...)
}

func (t tracing) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.trace(ctx, query, args)
	return t.tx.QueryRowContext(ctx, query, args...)
}

// only is a Tx of one statement: a second one would see another snapshot.
type only struct {
	tx   Tx
	used bool
}

func (o *only) use() Tx {
	if o.used {
		panic("a second statement in ReadOne")
	}
	o.used = true
	return o.tx
}

func (o *only) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return o.use().ExecContext(ctx, query, args...)
}

func (o *only) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return o.use().QueryContext(ctx, query, args...)
}

func (o *only) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return o.use().QueryRowContext(ctx, query, args...)
}
