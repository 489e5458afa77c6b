package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// ErrBusy: a lock was not available within the time that HoldReads sets. Nothing was changed.
var ErrBusy = errors.New("the database is busy")

// HoldReads waits until no Read is running in any process, and blocks new ones until tx
// ends, so that tables can be exchanged for others of the same names. Call it after all
// other locks. If running Reads last longer than holdTimeout, the transaction fails with
// ErrBusy, as does any later statement of it that waits that long for a lock.
//
// PostgreSQL needs it: a snapshot there is of rows, and a name always means the current
// table. A Read with a snapshot from before an exchange would find the new table without
// any of its rows. A snapshot of SQLite is of the whole file, including its tables: there
// is nothing to wait for.
func (db *DB) HoldReads(ctx context.Context, tx Tx) error {
	if db.engine != PostgreSQL {
		return nil
	}
	for _, statement := range []string{
		fmt.Sprintf("SET LOCAL lock_timeout = %d", holdTimeout.Milliseconds()),
		"LOCK TABLE schema_steps IN ACCESS EXCLUSIVE MODE",
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// beginGated is one message: the transaction takes no snapshot before it has the lock.
const beginGated = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE schema_steps IN ACCESS SHARE MODE"

// gatedConnector opens PostgreSQL connections whose read-only transactions hold the lock
// that HoldReads waits for. gated says whether they do yet, since a new database has no
// table to lock.
type gatedConnector struct {
	driver.Connector
	gated *atomic.Bool
}

// Connect opens one connection.
func (c gatedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(errors.New("the PostgreSQL driver has a connection of another type"), conn.Close())
	}
	return &gatedConn{inner, c.gated}, nil
}

type gatedConn struct {
	*stdlib.Conn
	gated *atomic.Bool
}

// BeginTx implements driver.ConnBeginTx.
func (c *gatedConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if !c.gated.Load() || !options.ReadOnly || sql.IsolationLevel(options.Isolation) != sql.LevelRepeatableRead {
		return c.Conn.BeginTx(ctx, options)
	}
	if c.Conn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	tx, err := c.Conn.Conn().BeginTx(ctx, pgx.TxOptions{BeginQuery: beginGated})
	if err != nil {
		return nil, err
	}
	return gatedTx{ctx, tx}, nil
}

type gatedTx struct {
	ctx context.Context
	tx  pgx.Tx
}

func (t gatedTx) Commit() error   { return t.tx.Commit(t.ctx) }
func (t gatedTx) Rollback() error { return t.tx.Rollback(t.ctx) }

// markBusy makes err an ErrBusy if a lock was not available in time.
func markBusy(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "55P03" { // lock_not_available
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

// HasTable reports whether there is a table of this name.
func (db *DB) HasTable(ctx context.Context, tx Tx, name string) (bool, error) {
	query := "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1"
	if db.engine == PostgreSQL {
		query = "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'r'"
	}
	var n int
	err := tx.QueryRowContext(ctx, query, name).Scan(&n)
	return n > 0, err
}

// CopyGrants gives others the rights to a table that they have to another one, which
// may be missing: a role that makes backups must not lose its table. SQLite has no roles.
func (db *DB) CopyGrants(ctx context.Context, tx Tx, from, to string) error {
	if db.engine != PostgreSQL {
		return nil
	}
	rows, err := tx.QueryContext(ctx, `SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, quote_ident($2::text),
			CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
			CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
		FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner`, from, to)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var grants []string
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return err
		}
		grants = append(grants, grant)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, grant := range grants {
		if _, err := tx.ExecContext(ctx, grant); err != nil {
			return err
		}
	}
	return nil
}
