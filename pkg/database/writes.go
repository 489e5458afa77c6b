package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// writes remembers how the last one ended.
type writes struct {
	number  atomic.Int64          // of those that were committed
	done    atomic.Int64          // when one was committed last, in Unix nanoseconds
	refused atomic.Pointer[error] // what the database said to the last one; nil if it took it
	full    atomic.Bool           // one found no space, and none was found since: smaller ones may have gone through
}

// ended notes the result of a Write.
func (w *writes) ended(err error) {
	switch {
	case err == nil:
		w.number.Add(1)
		w.done.Store(time.Now().UnixNano())
		w.refused.Store(nil)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrUnknownOutcome):
		w.refused.Store(&err)
		if isFull(err) {
			w.full.Store(true)
		}
	}
}

// Commits returns a number that rises by one with each Write of this DB that is committed,
// and by at least one with each of another process if the engine is SQLite, where they
// wait for each other. tx is of a Write.
func (db *DB) Commits(ctx context.Context, tx Tx) (int64, error) {
	var others int64
	if db.engine == SQLite {
		if err := tx.QueryRowContext(ctx, "PRAGMA data_version").Scan(&others); err != nil {
			return 0, err
		}
	}
	return db.writes.number.Load() + others, nil
}

// CheckWrites reports whether the database takes writes. If it refused the last one, a
// row is written again, unchanged, so that the end of the refusal is noticed without
// users' writes. That takes no space: after a refusal for want of it, space is looked
// for. ErrUnavailable, ErrUnknownOutcome.
func (db *DB) CheckWrites(ctx context.Context) error {
	err := db.tryWriting(ctx)
	refused, is := errors.AsType[*UnavailableError](err)
	if !is || !refused.Reads || db.engine != PostgreSQL || errors.Is(err, errReadOnlyPrimary) || db.serves(ctx) {
		return err
	}
	// It may have become a standby behind connections that were opened before.
	db.silence.noticed(0)
	return &UnavailableError{Reason: refused.Reason, cause: errStandby}
}

func (db *DB) tryWriting(ctx context.Context) error {
	if db.writes.full.Load() {
		if err := db.findSpace(ctx); err != nil {
			return err
		}
		db.writes.full.Store(false)
	}
	if db.writes.refused.Load() != nil {
		return db.Write(ctx, func(tx Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE schema_steps SET applied = applied WHERE component = 'eventlog' AND step = 1")
			return err
		})
	}
	if db.engine != PostgreSQL {
		return db.inPlace()
	}
	if time.Since(time.Unix(0, db.writes.done.Load())) < checkInterval {
		return nil
	}
	err := db.redact(markUnavailable(db.askWriter(ctx)))
	if ctx.Err() == nil {
		db.writes.ended(err)
	}
	return err
}

// findSpace looks for more space than a small push takes. It returns nil as well if this
// database does not let that be found out.
func (db *DB) findSpace(ctx context.Context) error {
	if db.engine == SQLite {
		return db.file.findSpace()
	}
	// A file of its own must grow at once. Of an unlogged table nothing is in the
	// write-ahead log, whose end would be worse; and nothing stays of either.
	err := db.Write(ctx, func(tx Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`CREATE UNLOGGED TABLE looking_for_space AS
			SELECT repeat(' ', 1000) AS kilobyte FROM generate_series(1, %d)`, spaceWanted/1000))
		return cmp.Or(err, errSpace)
	})
	if refused, is := errors.AsType[*UnavailableError](err); is && refused.Reason != reasonDenied || ctx.Err() != nil {
		return err
	}
	return nil
}

// errSpace undoes what was written to find that there is space.
var errSpace = errors.New("there is space")

// serves reports whether reads find a server that is no standby.
func (db *DB) serves(ctx context.Context) bool {
	var standby bool
	err := db.Read(ctx, func(tx Tx) error {
		return tx.QueryRowContext(ctx, "SELECT pg_is_in_recovery()").Scan(&standby)
	})
	return err == nil && !standby
}

// askWriter asks a connection that writes what its server takes it for.
func (db *DB) askWriter(ctx context.Context) error {
	conn, err := db.take(ctx, db.write, time.Now().Add(giveUp))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	var readOnly string
	if err := conn.QueryRowContext(ctx, "SELECT current_setting('transaction_read_only')").Scan(&readOnly); err != nil {
		return markLost(conn, err)
	}
	if readOnly == "on" {
		discard(conn)
		return &UnavailableError{Reason: reasonReadOnly, Reads: true, cause: errors.New("transaction_read_only is on")}
	}
	return nil
}

// Warnings lists settings of the database with which a power cut may lose what was committed.
func (db *DB) Warnings(ctx context.Context) (warnings []string, err error) {
	if db.engine != PostgreSQL {
		return nil, nil
	}
	err = db.Read(ctx, func(tx Tx) error {
		warnings = nil
		rows, err := tx.QueryContext(ctx, "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name")
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			warnings = append(warnings, name+"=off")
		}
		return rows.Err()
	})
	return warnings, err
}
