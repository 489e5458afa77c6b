package database

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// migrationLock is the key of PostgreSQL's advisory lock: "artstore" in ASCII.
const migrationLock = 0x61727473746f7265

// Migrate applies the steps of a component that this database does not have yet, in
// order and in one transaction, and records them. Each step is SQL text of one or more
// statements that both engines accept. New steps are only added at the end. A changed
// text of an applied step is an error, and so are more applied steps than given (a newer
// program has migrated). Several processes may migrate at the same time.
func (db *DB) Migrate(ctx context.Context, component string, steps []string) error {
	ctx = Patient(ctx)
	err := db.Write(ctx, func(tx Tx) error {
		if db.engine == PostgreSQL { // SQLite's transaction is exclusive already
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
				return err
			}
		}
		return migrate(ctx, tx, component, steps)
	})
	if err != nil {
		return fmt.Errorf("migrating %s: %w", component, err)
	}
	db.gated.Store(true)
	return nil
}

func migrate(ctx context.Context, tx Tx, component string, steps []string) error {
	_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_steps (
		component TEXT NOT NULL, step BIGINT NOT NULL, sha256 TEXT NOT NULL, applied BIGINT NOT NULL,
		PRIMARY KEY (component, step))`)
	if err != nil {
		return err
	}
	applied, err := appliedSteps(ctx, tx, component)
	if err != nil {
		return err
	}
	if len(applied) > len(steps) {
		return fmt.Errorf("the database has %d steps, this program knows %d: a newer version has migrated it", len(applied), len(steps))
	}
	for i, step := range steps {
		sum := sha256.Sum256([]byte(step))
		name := hex.EncodeToString(sum[:])
		if i < len(applied) {
			if applied[i] != name {
				return fmt.Errorf("step %d was applied with a different text", i+1)
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO schema_steps (component, step, sha256, applied) VALUES ($1, $2, $3, $4)",
			component, i+1, name, time.Now().UnixMicro())
		if err != nil {
			return err
		}
	}
	return nil
}

func appliedSteps(ctx context.Context, tx Tx, component string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT sha256 FROM schema_steps WHERE component = $1 ORDER BY step", component)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
