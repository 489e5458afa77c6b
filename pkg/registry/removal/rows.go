package removal

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// The rows are in the table sweeping, which upload.Migrate creates: they are
// scratch like the sessions, and the queries below look at both.

// Row says that a removal is working on a blob, or was. While the row exists,
// nothing may rely on a copy of the blob that was not checked since the removal
// was over.
type Row struct {
	SHA256 digest.Digest
	// Batch wrote the row.
	Batch string
	// Over: no request to delete the blob can be under way any more.
	Over bool
}

// States of a row. A row is also over when its time is.
const (
	stateRemoving = "removing"
	stateRemoved  = "removed"
)

// begin writes a row for each blob that no other removal is working on, and
// returns those blobs. until is when the caller has ended for certain. It must
// run under the lock of the log's head, after a look at the locations.
func begin(ctx context.Context, tx database.Tx, backendID, batch string, blobs []digest.Digest, now, until time.Time) ([]digest.Digest, error) {
	rows := make([][]any, len(blobs))
	for i, sha := range slices.SortedFunc(slices.Values(blobs), lockOrder) {
		rows[i] = []any{backendID, sha.Bytes(), batch, stateRemoving, now.UnixMicro(), until.UnixMicro()}
	}
	// A row that is over is taken over, not replaced: what still has to look at the blob does.
	_, err := database.InsertRows(ctx, tx, "sweeping", []string{"backend_id", "sha256", "sweep", "state", "begun_us", "until_us"}, rows,
		`ON CONFLICT (backend_id, sha256) DO UPDATE SET sweep = excluded.sweep, state = excluded.state, begun_us = excluded.begun_us, until_us = excluded.until_us
			WHERE sweeping.state = 'removed' OR sweeping.until_us <= excluded.begun_us`)
	if err != nil {
		return nil, err
	}
	return query(ctx, tx, func(rows *sql.Rows) (digest.Digest, error) {
		var sum []byte
		if err := rows.Scan(&sum); err != nil {
			return digest.Digest{}, err
		}
		return digest.FromBytes(digest.SHA256, sum)
	}, `SELECT sha256 FROM sweeping WHERE backend_id = $1 AND sweep = $2`, backendID, batch)
}

// lockOrder is the one order in which all transactions lock rows, so that no
// two wait for each other.
func lockOrder(a, b digest.Digest) int {
	x, y := a.Sum(), b.Sum()
	return slices.Compare(x[:], y[:])
}

// end says that no request of the batch is under way, except for the blobs of
// which the outcome is unknown: those rows end when their time is over.
func end(ctx context.Context, tx database.Tx, backendID, batch string, unknown []digest.Digest) error {
	args := []any{stateRemoved, backendID, batch, stateRemoving}
	text := `UPDATE sweeping SET state = $1 WHERE backend_id = $2 AND sweep = $3 AND state = $4`
	if len(unknown) > 0 {
		text += ` AND sha256 NOT IN (` + database.Parameters(len(args)+1, len(unknown)) + `)`
		for _, sha := range unknown {
			args = append(args, sha.Bytes())
		}
	}
	_, err := tx.ExecContext(ctx, text, args...)
	return err
}

// Find returns, at most limit, the rows of what the upload session has stored,
// and of the one blob beside it (its manifest).
func Find(ctx context.Context, tx database.Tx, backendID, uploadID string, beside digest.Digest, now time.Time, limit int) ([]Row, error) {
	return find(ctx, tx, backendID, now, `SELECT w.sha256, w.sweep, w.state, w.until_us FROM sweeping w WHERE w.backend_id = $1 AND w.sha256 = $2
		UNION SELECT w.sha256, w.sweep, w.state, w.until_us FROM upload_blobs b JOIN sweeping w ON w.backend_id = $1 AND w.sha256 = b.sha256
		WHERE b.upload_id = $3 LIMIT $4`, backendID, beside.Bytes(), uploadID, limit)
}

// FindBlobs returns the rows of the blobs: those of a package that needs no session, a
// few hundred at most.
func FindBlobs(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest, now time.Time) ([]Row, error) {
	args := []any{backendID}
	for _, sha := range blobs {
		args = append(args, sha.Bytes())
	}
	return find(ctx, tx, backendID, now, `SELECT w.sha256, w.sweep, w.state, w.until_us FROM sweeping w
		WHERE w.backend_id = $1 AND w.sha256 IN (`+database.Parameters(2, len(blobs))+`)`, args...)
}

func find(ctx context.Context, tx database.Tx, backendID string, now time.Time, text string, args ...any) ([]Row, error) {
	// Almost always there is no row at all, and then this costs one look-up.
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM sweeping WHERE backend_id = $1 LIMIT 1`, backendID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return query(ctx, tx, func(rows *sql.Rows) (Row, error) {
		var (
			row   Row
			sum   []byte
			state string
			until int64
		)
		if err := rows.Scan(&sum, &row.Batch, &state, &until); err != nil {
			return row, err
		}
		row.Over = state == stateRemoved || until <= now.UnixMicro()
		var err error
		row.SHA256, err = digest.FromBytes(digest.SHA256, sum)
		return row, err
	}, text, args...)
}

// Forget removes rows of blobs that were seen to be there after the removal was
// over, unless another removal has begun on them. It sorts seen.
func Forget(ctx context.Context, tx database.Tx, backendID string, seen []Row, now time.Time) error {
	slices.SortFunc(seen, func(a, b Row) int { return lockOrder(a.SHA256, b.SHA256) })
	for _, row := range seen {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sweeping WHERE backend_id = $1 AND sha256 = $2 AND sweep = $3 AND (state = $4 OR until_us <= $5)`,
			backendID, row.SHA256.Bytes(), row.Batch, stateRemoved, now.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// rowsKept is how long a row outlives its removal at least: far longer than it
// takes from when a Put has made its object visible to when the session has it
// in its rows.
const rowsKept = 24 * time.Hour

// ForgetOld removes rows that have been over for a day and whose blob no
// session has.
func ForgetOld(ctx context.Context, tx database.Tx, backendID string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM sweeping WHERE backend_id = $1 AND until_us <= $2
		AND NOT EXISTS (SELECT 1 FROM upload_blobs b JOIN uploads u ON u.id = b.upload_id WHERE b.sha256 = sweeping.sha256 AND u.backend_id = $1)
		AND NOT EXISTS (SELECT 1 FROM upload_parts p JOIN uploads u ON u.id = p.upload_id WHERE p.sha256 = sweeping.sha256 AND u.backend_id = $1)`,
		backendID, now.Add(-rowsKept).UnixMicro())
	return err
}

func query[T any](ctx context.Context, tx database.Tx, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	rows, err := tx.QueryContext(ctx, text, args...)
	return database.Collect(rows, err, scan)
}
