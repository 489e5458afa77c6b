package database

import (
	"context"
	"errors"
	"fmt"
)

// ErrBusy: a lock was not available within the time that HoldReads sets. Nothing was changed.
var ErrBusy = errors.New("the database is busy")

// HoldReads waits until no Read is running in any process, and blocks new ones until tx
// ends, so that tables can be exchanged for others of the same names. Call it after all
// other locks, and with a Patient context: if running Reads last longer than holdTimeout,
// its transaction fails with ErrBusy, as does any later statement of it that waits that
// long for a lock.
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

// markBusy makes err an ErrBusy if a lock was not available in time.
func markBusy(err error) error {
	if lockTimedOut(err) && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

func lockTimedOut(err error) bool { return pgCode(err) == "55P03" } // lock_not_available

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
