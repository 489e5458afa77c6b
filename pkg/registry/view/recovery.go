package view

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

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
