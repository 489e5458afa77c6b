package view

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// Findings are counts over the locations of one backend.
type Findings struct {
	Live, Corrupt, Missing, Abandoned int64
	NeverChecked                      int64
	Oldest, Newest                    time.Time // of the checks; zero if there was none
	// Of the live ones: OldestLive is when that was checked which was checked
	// longest ago, zero if none was; FirstUnchecked the position of the event
	// since which one is there that never was, 0 if there is none.
	OldestLive     time.Time
	FirstUnchecked uint64
}

// FindFindings counts. A backend without locations has zero counts.
func FindFindings(ctx context.Context, tx database.Tx, backendID string) (f Findings, err error) {
	version, err := Version(ctx, tx)
	if err != nil {
		return f, err
	}
	if version < fold.Counted {
		return countFindings(ctx, tx, backendID)
	}
	all, err := fold.CountsOf(ctx, tx, fold.Names{}, backendID)
	if err != nil {
		return f, err
	}
	for s, t := range all {
		f.add(s.State, s.Reason, t.Locations)
		f.NeverChecked += t.Unchecked
	}
	gaveUp, err := fold.AllAbandonments(ctx, tx, fold.Names{})
	if err != nil {
		return f, err
	}
	// Each is one step in the index. But where a backend that was given up is
	// filled again, the oldest check of a live location is behind those of the others.
	var oldest, newest, oldestLive, first sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT
		(SELECT MIN(at) FROM (SELECT MIN(checked_us) AS at FROM storage_locations WHERE backend_id = $1 AND state = 'live' AND checked_us > 0
			UNION ALL SELECT MIN(checked_us) AS at FROM storage_locations WHERE backend_id = $1 AND state = 'failed' AND checked_us > 0) AS o),
		(SELECT MAX(at) FROM (SELECT MAX(checked_us) AS at FROM storage_locations WHERE backend_id = $1 AND state = 'live'
			UNION ALL SELECT MAX(checked_us) AS at FROM storage_locations WHERE backend_id = $1 AND state = 'failed') AS n),
		(SELECT checked_us FROM storage_locations WHERE backend_id = $1 AND state = 'live' AND checked_us > 0 AND changed > $2
			ORDER BY checked_us, changed LIMIT 1),
		(SELECT MIN(changed) FROM storage_locations WHERE backend_id = $1 AND state = 'live' AND checked_us = 0 AND changed > $2)`,
		backendID, gaveUp.Last(backendID)).Scan(&oldest, &newest, &oldestLive, &first)
	f.Oldest, f.Newest, f.OldestLive = timeOf(oldest.Int64), timeOf(newest.Int64), timeOf(oldestLive.Int64)
	f.FirstUnchecked = uint64(first.Int64)
	return f, err
}

func (f *Findings) add(state, reason string, n int64) {
	switch {
	case state == StateLive:
		f.Live += n
	case reason == event.ReasonMissing:
		f.Missing += n
	case reason == ReasonAbandoned:
		f.Abandoned += n
	default:
		f.Corrupt += n
	}
}

// countFindings is FindFindings in tables without counts.
func countFindings(ctx context.Context, tx database.Tx, backendID string) (f Findings, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT state, reason, COUNT(*), CAST(SUM(CASE WHEN checked = 0 THEN 1 ELSE 0 END) AS BIGINT),
		COALESCE(MIN(CASE WHEN checked = 0 THEN NULL ELSE checked_us END), 0), MAX(checked_us),
		COALESCE(MIN(CASE WHEN checked = 0 THEN changed ELSE NULL END), 0)
		FROM storage_locations WHERE backend_id = $1 GROUP BY state, reason`, backendID)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
		var (
			state, reason              string
			n, never, oldest, newestUS int64
			unchecked                  uint64
		)
		if err := rows.Scan(&state, &reason, &n, &never, &oldest, &newestUS, &unchecked); err != nil {
			return struct{}{}, err
		}
		f.add(state, reason, n)
		f.NeverChecked += never
		if state == StateLive { // of which there is one row
			f.FirstUnchecked, f.OldestLive = unchecked, timeOf(oldest)
		}
		if at := timeOf(oldest); !at.IsZero() && (f.Oldest.IsZero() || at.Before(f.Oldest)) {
			f.Oldest = at
		}
		if at := timeOf(newestUS); at.After(f.Newest) {
			f.Newest = at
		}
		return struct{}{}, nil
	})
	return f, err
}

// ListInUse returns those of the backends that have a live location.
func ListInUse(ctx context.Context, tx database.Tx, backendIDs []string) (all []string, err error) {
	live, err := hasLocation(ctx, tx, `c.state = 'live'`, `l.state = 'live'`)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(backendIDs, 500) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		rows, err := tx.QueryContext(ctx, `SELECT b.id FROM backends b WHERE b.id IN (`+database.Parameters(1, len(chunk))+`)
			AND `+live+` ORDER BY b.id`, args...)
		found, err := database.Collect(rows, err, func(rows *sql.Rows) (id string, err error) {
			err = rows.Scan(&id)
			return id, err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// hasLocation is the SQL condition that a backend b has a location: by a condition on its
// counts c, or in tables without them on the locations l.
func hasLocation(ctx context.Context, tx database.Tx, counts, locations string) (string, error) {
	version, err := Version(ctx, tx)
	if version < fold.Counted {
		return `EXISTS (SELECT 1 FROM storage_locations l WHERE l.backend_id = b.id AND ` + locations + `)`, err
	}
	return `EXISTS (SELECT 1 FROM location_counts c WHERE c.backend_id = b.id AND ` + counts + ` AND c.locations > 0)`, err
}

// ListFailed returns at most limit locations of a backend that were found
// corrupt or missing, the latest to fail first, without details.
func ListFailed(ctx context.Context, tx database.Tx, backendID string, limit int) ([]verify.FailedLocation, error) {
	rows, err := tx.QueryContext(ctx, `SELECT l.sha256, l.reason FROM storage_locations l WHERE l.backend_id = $1 AND `+fold.Failed("l")+`
		ORDER BY l.changed DESC, l.sha256 LIMIT $2`, backendID, limit)
	return database.Collect(rows, err, func(rows *sql.Rows) (verify.FailedLocation, error) {
		var (
			f   verify.FailedLocation
			sum []byte
		)
		if err := rows.Scan(&sum, &f.Reason); err != nil {
			return f, err
		}
		var err error
		f.SHA256, err = digest.FromBytes(digest.SHA256, sum)
		return f, err
	})
}

// CountLocations returns how many objects, and of how many bytes, a backend
// should hold; of failed ones only if failed.
func CountLocations(ctx context.Context, tx database.Tx, backendID string, failed bool) (objects, bytes int64, err error) {
	version, err := Version(ctx, tx)
	if err != nil {
		return 0, 0, err
	}
	if version < fold.Counted {
		err = tx.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(b.size), 0) AS BIGINT) FROM storage_locations l JOIN blobs b ON b.sha256 = l.sha256
			WHERE l.backend_id = $1`+onlyFailed(failed), backendID).Scan(&objects, &bytes)
		return objects, bytes, err
	}
	all, err := fold.CountsOf(ctx, tx, fold.Names{}, backendID)
	for s, t := range all {
		if !failed || s.State == StateFailed {
			objects, bytes = objects+t.Locations, bytes+t.Bytes
		}
	}
	return objects, bytes, err
}

func onlyFailed(failed bool) string {
	if failed {
		return ` AND l.state = '` + StateFailed + `'`
	}
	return ""
}

// ToCheck is a location to re-read.
type ToCheck struct {
	Blob
	// CheckedAt is the time of the last finding, zero if there was none, and Changed the
	// position of the event that set the state: with the SHA-256 they are the cursor.
	CheckedAt time.Time
	Changed   uint64
}

// UpTo is when a listing began: the log's position, and the last finding of the backend.
type UpTo struct {
	Position uint64
	Checked  time.Time
}

// ListToCheck returns at most limit locations of a backend of which nothing was
// found after upTo, oldest finding first (never checked: before all, the one that was
// stored first before the others), behind the cursor (nil: from the start); only failed ones if failed.
func ListToCheck(ctx context.Context, tx database.Tx, backendID string, failed bool, upTo UpTo, after *ToCheck, limit int) ([]ToCheck, error) {
	version, err := Version(ctx, tx)
	if err != nil {
		return nil, err
	}
	args := []any{backendID, upTo.Position, micros(upTo.Checked), limit}
	behind, order := "", "l.checked_us, l.sha256"
	if version >= fold.Counted {
		order = "l.checked_us, l.changed, l.sha256"
	}
	if after != nil {
		args = append(args, micros(after.CheckedAt), after.Digests.SHA256.Bytes())
		behind = ` AND (l.checked_us, l.sha256) > ($5, $6)`
		if version >= fold.Counted {
			args = append(args, after.Changed)
			behind = ` AND (l.checked_us, l.changed, l.sha256) > ($5, $7, $6)`
		}
	}
	of := func(where string) string {
		return `SELECT * FROM (SELECT l.sha256, l.checked_us, l.changed FROM storage_locations l
			WHERE l.backend_id = $1` + where + ` AND l.checked <= $2 AND l.checked_us <= $3` + behind + ` ORDER BY ` + order + ` LIMIT $4) AS s`
	}
	var from string
	switch {
	case version < fold.Counted:
		from = of(onlyFailed(failed))
	case !failed:
		from = of(` AND l.state = 'live'`) + ` UNION ALL ` + of(` AND l.state = 'failed'`)
	default:
		from = of(` AND l.state = 'failed'`)
		gaveUp, err := fold.AllAbandonments(ctx, tx, fold.Names{})
		if err != nil {
			return nil, err
		}
		if last := gaveUp.Last(backendID); last != 0 { // what was live by then has failed
			from += ` UNION ALL ` + of(fmt.Sprintf(` AND l.state = 'live' AND l.changed < %d`, last))
		}
	}
	// Not a join: PostgreSQL does not know how few rows there are, and may read all blobs.
	rows, err := tx.QueryContext(ctx, `SELECT l.sha256, (SELECT b.blake3 FROM blobs b WHERE b.sha256 = l.sha256), (SELECT b.size FROM blobs b WHERE b.sha256 = l.sha256),
		l.checked_us, l.changed FROM (`+from+`) AS l ORDER BY `+order+` LIMIT $4`, args...)
	return database.Collect(rows, err, func(rows *sql.Rows) (ToCheck, error) {
		var (
			c       ToCheck
			sha, b3 []byte
			size    sql.NullInt64
			at      int64
		)
		if err := rows.Scan(&sha, &b3, &size, &at, &c.Changed); err != nil {
			return c, err
		}
		if !size.Valid {
			return c, fmt.Errorf("the views are damaged: they have a location of %x in backend %s, but not the blob", sha, backendID)
		}
		c.Size, c.CheckedAt = size.Int64, timeOf(at)
		var err error
		c.Digests, err = dual(sha, b3)
		return c, err
	})
}
