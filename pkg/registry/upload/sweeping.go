package upload

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// Sweeping says that a sweep is removing a blob from a backend, or has: while
// the row stands, no one may rely on a copy of the blob that he has not looked
// at since the sweep was over. docs/adr/0012 has the argument.
type Sweeping struct {
	SHA256 digest.Digest
	// Sweep is the batch that wrote the row.
	Sweep string
	// Over: no request to delete the blob can be under way any more.
	Over bool
}

// States of a row of sweeping.
const (
	sweepRemoving = "removing"
	sweepRemoved  = "removed"
)

// BeginSweep writes a row for each of the blobs on which no other sweep is at
// work, and returns those. until is when the caller will have ended for sure.
// It must run under the lock of the log's head, after a look at the locations.
func BeginSweep(ctx context.Context, tx database.Tx, backendID, sweep string, blobs []digest.Digest, now, until time.Time) ([]digest.Digest, error) {
	rows := make([][]any, len(blobs))
	for i, sha := range slices.SortedFunc(slices.Values(blobs), compare) {
		rows[i] = []any{backendID, sha.Bytes(), sweep, sweepRemoving, now.UnixMicro(), until.UnixMicro()}
	}
	// A row that is over is taken over, not made anew: whoever still has to look at the blob does.
	_, err := database.InsertRows(ctx, tx, "sweeping", []string{"backend_id", "sha256", "sweep", "state", "begun_us", "until_us"}, rows,
		`ON CONFLICT (backend_id, sha256) DO UPDATE SET sweep = excluded.sweep, state = excluded.state, begun_us = excluded.begun_us, until_us = excluded.until_us
			WHERE sweeping.state = 'removed' OR sweeping.until_us <= excluded.begun_us`)
	if err != nil {
		return nil, err
	}
	return querySums(ctx, tx, `SELECT sha256 FROM sweeping WHERE backend_id = $1 AND sweep = $2`, backendID, sweep)
}

// compare gives rows one order in which all transactions lock them, so that two
// that wait for each other cannot be.
func compare(a, b digest.Digest) int {
	x, y := a.Sum(), b.Sum()
	return slices.Compare(x[:], y[:])
}

// EndSweep says that no request of the batch is under way, but those for the
// blobs of which the outcome is not known: they end when their time is over.
func EndSweep(ctx context.Context, tx database.Tx, backendID, sweep string, unknown []digest.Digest) error {
	args := []any{sweepRemoved, backendID, sweep, sweepRemoving}
	query := `UPDATE sweeping SET state = $1 WHERE backend_id = $2 AND sweep = $3 AND state = $4`
	if len(unknown) > 0 {
		query += ` AND sha256 NOT IN (` + parameters(len(args)+1, len(unknown)) + `)`
		for _, sha := range unknown {
			args = append(args, sha.Bytes())
		}
	}
	_, err := tx.ExecContext(ctx, query, args...)
	return err
}

// FindSweeping returns, at most limit, what was or is being swept of what the
// session has sent, and of the one blob beside it (its manifest).
func FindSweeping(ctx context.Context, tx database.Tx, s Session, beside digest.Digest, now time.Time, limit int) ([]Sweeping, error) {
	// Hardly ever is there any row, and then this costs one look-up.
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM sweeping WHERE backend_id = $1 LIMIT 1`, s.BackendID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT w.sha256, w.sweep, w.state, w.until_us FROM sweeping w WHERE w.backend_id = $1 AND w.sha256 = $2
		UNION SELECT w.sha256, w.sweep, w.state, w.until_us FROM upload_blobs b JOIN sweeping w ON w.backend_id = $1 AND w.sha256 = b.sha256
		WHERE b.upload_id = $3 LIMIT $4`, s.BackendID, beside.Bytes(), s.ID, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var found []Sweeping
	for rows.Next() {
		var (
			w     Sweeping
			sum   []byte
			state string
			until int64
		)
		if err := rows.Scan(&sum, &w.Sweep, &state, &until); err != nil {
			return nil, err
		}
		if w.SHA256, err = digest.FromBytes(digest.SHA256, sum); err != nil {
			return nil, err
		}
		w.Over = state == sweepRemoved || until <= now.UnixMicro()
		found = append(found, w)
	}
	return found, rows.Err()
}

// ForgetSweeping removes rows of blobs that were seen to be there after the
// sweep was over, unless another sweep has begun on them. It sorts seen.
func ForgetSweeping(ctx context.Context, tx database.Tx, backendID string, seen []Sweeping, now time.Time) error {
	slices.SortFunc(seen, func(a, b Sweeping) int { return compare(a.SHA256, b.SHA256) })
	for _, w := range seen {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sweeping WHERE backend_id = $1 AND sha256 = $2 AND sweep = $3 AND (state = $4 OR until_us <= $5)`,
			backendID, w.SHA256.Bytes(), w.Sweep, sweepRemoved, now.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// ForgetOldSweeping removes rows that were over before the given time and
// whose blob no session has.
func ForgetOldSweeping(ctx context.Context, tx database.Tx, backendID string, before time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM sweeping WHERE backend_id = $1 AND until_us <= $2
		AND sha256 NOT IN (SELECT b.sha256 FROM uploads u JOIN upload_blobs b ON b.upload_id = u.id WHERE u.backend_id = $1)
		AND sha256 NOT IN (SELECT p.sha256 FROM uploads u JOIN upload_parts p ON p.upload_id = u.id WHERE u.backend_id = $1)`,
		backendID, before.UnixMicro())
	return err
}

// DropSwept forgets content that the session has sent and that is gone.
func DropSwept(ctx context.Context, tx database.Tx, id string, gone []digest.Digest) error {
	for _, sha := range gone {
		if _, err := tx.ExecContext(ctx, `DELETE FROM upload_blobs WHERE upload_id = $1 AND sha256 = $2`, id, sha.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// FindClaimed returns those of the blobs that a session on the backend has
// declared, has stored, or has as a part. Sessions that are over count until they are removed.
func FindClaimed(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest) (map[digest.Digest]bool, error) {
	claimed := make(map[digest.Digest]bool)
	for chunk := range slices.Chunk(blobs, chunkSize) {
		args := []any{backendID}
		for _, sha := range chunk {
			args = append(args, sha.Bytes())
		}
		for _, table := range []string{"upload_files", "upload_blobs", "upload_parts"} {
			found, err := querySums(ctx, tx, `SELECT DISTINCT t.sha256 FROM uploads u JOIN `+table+` t ON t.upload_id = u.id
				WHERE u.backend_id = $1 AND t.sha256 IN (`+parameters(2, len(chunk))+`)`, args...)
			if err != nil {
				return nil, err
			}
			for _, sha := range found {
				claimed[sha] = true
			}
		}
	}
	return claimed, nil
}

func querySums(ctx context.Context, tx database.Tx, query string, args ...any) ([]digest.Digest, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var sums []digest.Digest
	for rows.Next() {
		var sum []byte
		if err := rows.Scan(&sum); err != nil {
			return nil, err
		}
		sha, err := digest.FromBytes(digest.SHA256, sum)
		if err != nil {
			return nil, err
		}
		sums = append(sums, sha)
	}
	return sums, rows.Err()
}
