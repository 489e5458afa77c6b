package view

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// Blob is a row of blobs.
type Blob struct {
	Digests digest.Dual
	Size    int64
}

// Location is where a blob is, and if it failed why.
type Location struct{ BackendID, State, Reason string }

// FindBlob returns a blob by either digest, and its locations, live ones first.
// ErrNotFound.
func FindBlob(ctx context.Context, tx database.Tx, name digest.Digest) (Blob, []Location, error) {
	column := "sha256"
	if name.Algorithm() == digest.BLAKE3 {
		column = "blake3"
	}
	rows, err := tx.QueryContext(ctx, `SELECT b.sha256, b.blake3, b.size, l.backend_id, l.state, l.reason
		FROM blobs b JOIN storage_locations l ON l.sha256 = b.sha256
		WHERE b.`+column+` = $1 ORDER BY CASE l.state WHEN 'live' THEN 0 ELSE 1 END, l.changed, l.backend_id`, name.Bytes())
	var blob Blob
	locations, err := collect(rows, err, func(rows *sql.Rows) (Location, error) {
		var (
			l       Location
			sha, b3 []byte
		)
		if err := rows.Scan(&sha, &b3, &blob.Size, &l.BackendID, &l.State, &l.Reason); err != nil {
			return l, err
		}
		var err error
		blob.Digests, err = dual(sha, b3)
		return l, err
	})
	if err == nil && len(locations) == 0 {
		err = ErrNotFound
	}
	return blob, locations, err
}

// inChunks calls query for at most 500 digests at a time.
func inChunks(digests []digest.Digest, query func(chunk []digest.Digest) error) error {
	const most = 500
	for len(digests) > 0 {
		n := min(most, len(digests))
		if err := query(digests[:n]); err != nil {
			return err
		}
		digests = digests[n:]
	}
	return nil
}

// FindReusable tells which of the digests a producer need not send: blobs of
// packages that it published itself, with a live location. What others
// published is not told: the answer must not tell a stranger what is stored.
// The result maps the SHA-256 to the blob and the ids of the backends that have it.
func FindReusable(ctx context.Context, tx database.Tx, producer string, digests []digest.Digest) (map[digest.Digest]Reusable, error) {
	all := make(map[digest.Digest]Reusable)
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := []any{producer}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		rows, err := tx.QueryContext(ctx, `SELECT b.sha256, b.blake3, b.size, l.backend_id
			FROM blobs b JOIN storage_locations l ON l.sha256 = b.sha256
			WHERE b.sha256 IN (`+database.Parameters(2, len(chunk))+`) AND l.state = 'live'
			AND EXISTS (SELECT 1 FROM package_files f WHERE f.sha256 = b.sha256 AND f.producer = $1)`, args...)
		_, err = collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var (
				sha, b3 []byte
				size    int64
				backend string
			)
			if err := rows.Scan(&sha, &b3, &size, &backend); err != nil {
				return struct{}{}, err
			}
			both, err := dual(sha, b3)
			if err != nil {
				return struct{}{}, err
			}
			r := all[both.SHA256]
			r.Blob, r.Backends = Blob{both, size}, append(r.Backends, backend)
			all[both.SHA256] = r
			return struct{}{}, nil
		})
		return err
	})
	return all, err
}

// Reusable is a blob and the backends that have it live.
type Reusable struct {
	Blob
	Backends []string
}

// CountLive returns how many of the digests have a live location in the backend.
func CountLive(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest) (int, error) {
	sum := 0
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := []any{backendID}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		var n int
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM storage_locations WHERE backend_id = $1 AND state = 'live' AND sha256 IN (`+
			database.Parameters(2, len(chunk))+`)`, args...).Scan(&n)
		sum += n
		return err
	})
	return sum, err
}

// FindLocated returns those of the digests that have a location in the
// backend, in whatever state: a failed one may yet be restored.
func FindLocated(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest) (map[digest.Digest]bool, error) {
	return findLocated(ctx, tx, backendID, digests, "")
}

// FindLive returns those of the digests that have a live location in the backend.
func FindLive(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest) (map[digest.Digest]bool, error) {
	return findLocated(ctx, tx, backendID, digests, " AND state = 'live'")
}

func findLocated(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest, and string) (map[digest.Digest]bool, error) {
	located := make(map[digest.Digest]bool)
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := []any{backendID}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		rows, err := tx.QueryContext(ctx, `SELECT sha256 FROM storage_locations WHERE backend_id = $1 AND sha256 IN (`+database.Parameters(2, len(chunk))+`)`+and, args...)
		_, err = collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var sum []byte
			if err := rows.Scan(&sum); err != nil {
				return struct{}{}, err
			}
			d, err := digest.FromBytes(digest.SHA256, sum)
			located[d] = true
			return struct{}{}, err
		})
		return err
	})
	return located, err
}

// ListNotLive returns those of the digests that have no live location anywhere.
func ListNotLive(ctx context.Context, tx database.Tx, digests []digest.Digest) ([]digest.Digest, error) {
	var dead []digest.Digest
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := make([]any, len(chunk))
		for i, d := range chunk {
			args[i] = d.Bytes()
		}
		rows, err := tx.QueryContext(ctx, `SELECT DISTINCT sha256 FROM storage_locations WHERE state = 'live' AND sha256 IN (`+database.Parameters(1, len(chunk))+`)`, args...)
		live := make(map[digest.Digest]bool, len(chunk))
		if _, err := collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var sum []byte
			if err := rows.Scan(&sum); err != nil {
				return struct{}{}, err
			}
			d, err := digest.FromBytes(digest.SHA256, sum)
			live[d] = true
			return struct{}{}, err
		}); err != nil {
			return err
		}
		for _, d := range chunk {
			if !live[d] {
				dead = append(dead, d)
			}
		}
		return nil
	})
	return dead, err
}

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
func FindFindings(ctx context.Context, tx database.Tx, backendID string) (Findings, error) {
	rows, err := tx.QueryContext(ctx, `SELECT state, reason, COUNT(*), CAST(SUM(CASE WHEN checked = 0 THEN 1 ELSE 0 END) AS BIGINT),
		COALESCE(MIN(CASE WHEN checked = 0 THEN NULL ELSE checked_us END), 0), MAX(checked_us),
		COALESCE(MIN(CASE WHEN checked = 0 THEN changed ELSE NULL END), 0)
		FROM storage_locations WHERE backend_id = $1 GROUP BY state, reason`, backendID)
	var f Findings
	_, err = collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
		var (
			state, reason              string
			n, never, oldest, newestUS int64
			unchecked                  uint64
		)
		if err := rows.Scan(&state, &reason, &n, &never, &oldest, &newestUS, &unchecked); err != nil {
			return struct{}{}, err
		}
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
		f.NeverChecked += never
		if state == StateLive { // of which there is one row
			f.FirstUnchecked = unchecked
			if oldest != 0 {
				f.OldestLive = time.UnixMicro(oldest).UTC()
			}
		}
		if at := time.UnixMicro(oldest).UTC(); oldest != 0 && (f.Oldest.IsZero() || at.Before(f.Oldest)) {
			f.Oldest = at
		}
		if at := time.UnixMicro(newestUS).UTC(); newestUS != 0 && at.After(f.Newest) {
			f.Newest = at
		}
		return struct{}{}, nil
	})
	return f, err
}

// ListInUse returns those of the backends that have a live location.
func ListInUse(ctx context.Context, tx database.Tx, backendIDs []string) (all []string, err error) {
	for chunk := range slices.Chunk(backendIDs, 500) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		rows, err := tx.QueryContext(ctx, `SELECT b.id FROM backends b WHERE b.id IN (`+database.Parameters(1, len(chunk))+`)
			AND EXISTS (SELECT 1 FROM storage_locations l WHERE l.backend_id = b.id AND l.state = 'live') ORDER BY b.id`, args...)
		found, err := collect(rows, err, func(rows *sql.Rows) (id string, err error) {
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

// ListFailed returns at most limit locations of a backend that were found
// corrupt or missing, the latest to fail first, without details.
func ListFailed(ctx context.Context, tx database.Tx, backendID string, limit int) ([]verify.FailedLocation, error) {
	rows, err := tx.QueryContext(ctx, `SELECT sha256, reason FROM storage_locations WHERE backend_id = $1 AND state = 'failed' AND reason <> '`+ReasonAbandoned+`'
		ORDER BY changed DESC, sha256 LIMIT $2`, backendID, limit)
	return collect(rows, err, func(rows *sql.Rows) (verify.FailedLocation, error) {
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
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(b.size), 0) AS BIGINT) FROM storage_locations l JOIN blobs b ON b.sha256 = l.sha256
		WHERE l.backend_id = $1`+onlyFailed(failed), backendID).Scan(&objects, &bytes)
	return objects, bytes, err
}

func onlyFailed(failed bool) string {
	if failed {
		return ` AND l.state = '` + StateFailed + `'`
	}
	return ""
}

// Standing is what the log last said of a location, the positions of the event
// that set its state and of the log at the last finding (0 if none), and the time of that.
type Standing struct {
	State, Reason    string
	Changed, Checked uint64
	CheckedAt        time.Time // zero if never
}

// FindStandings returns those of the digests that have a location in the backend.
func FindStandings(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest) (map[digest.Digest]Standing, error) {
	all := make(map[digest.Digest]Standing, len(digests))
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := []any{backendID}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		rows, err := tx.QueryContext(ctx, `SELECT sha256, state, reason, changed, checked, checked_us FROM storage_locations
			WHERE backend_id = $1 AND sha256 IN (`+database.Parameters(2, len(chunk))+`)`, args...)
		_, err = collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var (
				sum []byte
				s   Standing
				at  int64
			)
			if err := rows.Scan(&sum, &s.State, &s.Reason, &s.Changed, &s.Checked, &at); err != nil {
				return struct{}{}, err
			}
			s.CheckedAt = timeOf(at)
			d, err := digest.FromBytes(digest.SHA256, sum)
			all[d] = s
			return struct{}{}, err
		})
		return err
	})
	return all, err
}

// ToCheck is a location to re-read.
type ToCheck struct {
	Blob
	// CheckedAt is the time of the last finding, zero if there was none; with the SHA-256 it is the cursor.
	CheckedAt time.Time
}

// UpTo is when a listing began: the log's position, and the last finding of the backend.
type UpTo struct {
	Position uint64
	Checked  time.Time
}

// ListToCheck returns at most limit locations of a backend of which nothing was
// found after upTo, oldest finding first (never checked: before all), behind the
// cursor (nil: from the start); only failed ones if failed.
func ListToCheck(ctx context.Context, tx database.Tx, backendID string, failed bool, upTo UpTo, after *ToCheck, limit int) ([]ToCheck, error) {
	query := `SELECT b.sha256, b.blake3, b.size, l.checked_us FROM storage_locations l JOIN blobs b ON b.sha256 = l.sha256
		WHERE l.backend_id = $1 AND l.checked <= $2 AND l.checked_us <= $3` + onlyFailed(failed)
	args := []any{backendID, upTo.Position, micros(upTo.Checked), limit}
	if after != nil {
		query += ` AND (l.checked_us, l.sha256) > ($5, $6)`
		args = append(args, micros(after.CheckedAt), after.Digests.SHA256.Bytes())
	}
	rows, err := tx.QueryContext(ctx, query+` ORDER BY l.checked_us, l.sha256 LIMIT $4`, args...)
	return collect(rows, err, func(rows *sql.Rows) (ToCheck, error) {
		var (
			c       ToCheck
			sha, b3 []byte
			at      int64
		)
		if err := rows.Scan(&sha, &b3, &c.Size, &at); err != nil {
			return c, err
		}
		c.CheckedAt = timeOf(at)
		var err error
		c.Digests, err = dual(sha, b3)
		return c, err
	})
}
