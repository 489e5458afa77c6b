package headmark

import (
	"context"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
)

// The rows are scratch: what a replica has last seen in a backend. Those who
// ask for the state of the whole, and who recovers, need no access to it then.
var schema = []string{`
CREATE TABLE older_logs (
	backend_id    TEXT PRIMARY KEY,
	backend_name  TEXT   NOT NULL,
	mark_position BIGINT NOT NULL,
	mark_hash     BYTEA  NOT NULL,
	message       TEXT   NOT NULL,
	mark_us       BIGINT NOT NULL
);
`}

// Migrate creates the table if it is missing.
func Migrate(ctx context.Context, db *database.DB) error { return db.Migrate(ctx, "headmark", schema) }

// Row is a mark that the log does not have.
type Row struct {
	BackendID, BackendName string
	Mark                   Mark
	Message                string
}

// Note writes a row, in place of one of the same backend.
func Note(ctx context.Context, tx database.Tx, r Row) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO older_logs (backend_id, backend_name, mark_position, mark_hash, message, mark_us)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (backend_id) DO UPDATE SET backend_name = excluded.backend_name,
		mark_position = excluded.mark_position, mark_hash = excluded.mark_hash, message = excluded.message, mark_us = excluded.mark_us`,
		r.BackendID, r.BackendName, int64(r.Mark.Position), r.Mark.Hash[:], r.Message, r.Mark.Time.UnixMicro())
	return err
}

// Forget removes a backend's row.
func Forget(ctx context.Context, tx database.Tx, backendID string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM older_logs WHERE backend_id = $1", backendID)
	return err
}

// Find returns a backend's row; ok is false if there is none.
func Find(ctx context.Context, tx database.Tx, backendID string) (r Row, ok bool, err error) {
	rows, err := list(ctx, tx, "WHERE backend_id = $1", backendID)
	if err != nil || len(rows) == 0 {
		return Row{}, false, err
	}
	return rows[0], true, nil
}

// List returns all rows, by backend.
func List(ctx context.Context, tx database.Tx) ([]Row, error) { return list(ctx, tx, "") }

func list(ctx context.Context, tx database.Tx, where string, args ...any) ([]Row, error) {
	rows, err := tx.QueryContext(ctx, "SELECT backend_id, backend_name, mark_position, mark_hash, message FROM older_logs "+where+" ORDER BY backend_id", args...)
	if err != nil {
		return nil, fmt.Errorf("reading the head marks of backends: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []Row
	for rows.Next() {
		var r Row
		var hash []byte
		if err := rows.Scan(&r.BackendID, &r.BackendName, &r.Mark.Position, &hash, &r.Message); err != nil {
			return nil, err
		}
		copy(r.Mark.Hash[:], hash)
		all = append(all, r)
	}
	return all, rows.Err()
}
