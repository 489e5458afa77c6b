package view

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// carried is how far the observations of the tables that serve were taken over.
type carried struct {
	position uint64               // the log's when it began: later ones have at least it
	until    map[string]time.Time // backend id -> the last one then
}

// carryAll takes all observations over, some rows in each transaction. Those that are
// written meanwhile are carryRest's. One snapshot parts them, and the replay goes
// to where that is: what was found by then is of locations that are in the new tables.
func (r *replay) carryAll(ctx context.Context) error {
	r.carried = carried{until: make(map[string]time.Time)}
	there := false
	if err := r.db.Read(ctx, func(tx database.Tx) (err error) {
		if there, err = r.db.HasTable(ctx, tx, "storage_locations"); err != nil || !there {
			return err
		}
		head, err := eventlog.HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		r.carried.position = head.Position
		backends, err := r.backends(ctx, tx)
		for _, id := range backends {
			last, lastErr := LastChecked(ctx, tx, id)
			r.carried.until[id], err = last, errors.Join(err, lastErr)
		}
		return err
	}); err != nil || !there {
		return err
	}
	if err := r.catchUp(ctx, r.carried.position); err != nil {
		return err
	}
	for from := []byte{}; from != nil; {
		var to []byte
		if err := r.step(ctx, func(tx database.Tx) (err error) {
			to, err = r.carryRange(ctx, tx, from)
			return err
		}); err != nil {
			return err
		}
		from = to
		if err := pause(ctx, r.pace.pause()); err != nil {
			return err
		}
	}
	return nil
}

// carryRange takes over what lies behind a digest, and returns the last of the range, nil at the end.
func (r *replay) carryRange(ctx context.Context, tx database.Tx, from []byte) (to []byte, err error) {
	err = tx.QueryRowContext(ctx, "SELECT sha256 FROM storage_locations WHERE sha256 > $1 ORDER BY sha256 LIMIT 1 OFFSET $2", from, carryRows).Scan(&to)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, r.carry(ctx, tx, r.carried.position, "o.sha256 > $3 AND n.sha256 > $3", from)
	}
	if err != nil {
		return nil, err
	}
	return to, r.carry(ctx, tx, r.carried.position, "o.sha256 > $3 AND o.sha256 <= $4 AND n.sha256 > $3 AND n.sha256 <= $4", from, to)
}

// carryRest takes over what was written since carryAll began. The head must be locked, at a position.
func (r *replay) carryRest(ctx context.Context, tx database.Tx, position uint64) error {
	there, err := r.db.HasTable(ctx, tx, "storage_locations")
	if err != nil || !there {
		return err
	}
	backends, err := r.backends(ctx, tx)
	for _, id := range backends {
		// Both bounds say the same: the tables that serve have an index by one or the other.
		err = errors.Join(err, r.carry(ctx, tx, position, "o.backend_id = $3 AND o.state IN ('live', 'failed') AND o.checked >= $4 AND o.checked_us > $5",
			id, r.carried.position, micros(r.carried.until[id])))
	}
	return err
}

func (r *replay) backends(ctx context.Context, tx database.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id FROM "+r.into.Of("backends"))
	return database.Collect(rows, err, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) })
}

// carry takes over what is newer than the replay's, and can be true: damage must
// not put a blob last in line permanently. What was never observed is not looked up.
func (r *replay) carry(ctx context.Context, tx database.Tx, position uint64, where string, args ...any) error {
	into := r.into.Of("storage_locations")
	args = append([]any{position, time.Now().Add(clockSkew).UnixMicro()}, args...)
	newer := `o.sha256 = n.sha256 AND o.backend_id = n.backend_id
		AND o.checked_us > 0 AND o.checked_us > n.checked_us AND o.checked >= n.checked AND o.checked <= $1 AND o.checked_us <= $2 AND ` + where
	first, err := fold.CountFirst(ctx, tx, r.into.Names, into+" n, storage_locations o", newer, args...)
	if err != nil {
		return err
	}
	if err := first.Write(ctx, tx, r.into.Names); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE `+into+` AS n SET checked = o.checked, checked_us = o.checked_us FROM storage_locations o WHERE `+newer, args...)
	return err
}
