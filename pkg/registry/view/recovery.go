package view

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

func (f fold) applyRecovered(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LogRecovered) error {
	until := rec.Time.Add(time.Duration(p.HoldSeconds) * time.Second).UnixMicro()
	rows := make([][]any, len(p.Marks))
	for i, m := range p.Marks {
		if len(m.Hash) != 32 {
			return fmt.Errorf("the hash of the mark of %s has %d bytes", m.BackendID, len(m.Hash))
		}
		rows[i] = []any{rec.Position, m.BackendID, int64(m.Position), m.Hash, until}
	}
	return f.insert(ctx, tx, "recoveries", []string{"position", "backend_id", "mark_position", "mark_hash", "held_until_us"}, rows, "")
}

// FindAcceptedMark returns the head mark of the backend that was accepted last
// although the log does not have it; zeros if none was.
func FindAcceptedMark(ctx context.Context, tx database.Tx, backendID string) (position uint64, hash [32]byte, err error) {
	var found []byte
	err = tx.QueryRowContext(ctx, `SELECT mark_position, mark_hash FROM recoveries WHERE backend_id = $1 ORDER BY position DESC LIMIT 1`, backendID).
		Scan(&position, &found)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, hash, nil
	}
	copy(hash[:], found)
	return position, hash, err
}

// HeldUntil returns until when nothing may be removed, as the log was
// recovered; zero if it never was.
func HeldUntil(ctx context.Context, tx database.Tx) (time.Time, error) {
	var until int64
	err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(held_until_us), 0) FROM recoveries").Scan(&until)
	if err != nil || until == 0 {
		return time.Time{}, err
	}
	return time.UnixMicro(until).UTC(), nil
}
