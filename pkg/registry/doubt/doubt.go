// Package doubt remembers the locations that are in doubt: live ones whose object
// could not be read, by a verification or a reader, or is missing or short. They are still served,
// are not offered for reuse, and are counted until a verification settles them. The
// rows are scratch: one that is lost is made again by the next reader or verification.
package doubt

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// Reasons for a doubt.
const (
	// Unreadable: a verification could not read the object, although the place answered.
	Unreadable = "unreadable"
	// Suspect: a reader could not read the object, or found it missing or of another size.
	Suspect = "suspect"
)

var schema = []string{`
CREATE TABLE doubts (
	backend_id  TEXT   NOT NULL,
	sha256      BYTEA  NOT NULL,
	reason      TEXT   NOT NULL, -- unreadable or suspect
	detail      TEXT   NOT NULL,
	position    BIGINT NOT NULL, -- of the log: a location that changed after it is not meant
	since_us    BIGINT NOT NULL,
	verified_us BIGINT NOT NULL, -- when something was last found of the bytes, 0 if never
	due_us      BIGINT NOT NULL, -- when it is read next
	PRIMARY KEY (backend_id, sha256)
);
CREATE INDEX doubts_due ON doubts (due_us);
`}

// Migrate creates the table if it is missing.
func Migrate(ctx context.Context, db *database.DB) error { return db.Migrate(ctx, "doubts", schema) }

// Row is one doubt.
type Row struct {
	BackendID string
	SHA256    digest.Digest
	Reason    string
	Detail    string
	Position  uint64
	Since     time.Time
	Verified  time.Time // zero if never
	Due       time.Time
}

// Doubts with the locations that they are about: all, or those of some blobs. CROSS JOIN:
// SQLite joins from left to right then, from the few to the many.
const (
	located = `doubts d CROSS JOIN storage_locations l`
	ofBlobs = `storage_locations l CROSS JOIN doubts d`
)

// stands: the location is live, and its bytes are those that were doubted.
var stands = `l.backend_id = d.backend_id AND l.sha256 = d.sha256 AND ` + fold.Live("l") + ` AND l.changed <= d.position`

// Note writes doubts. One that exists keeps since when, and when the bytes were last verified.
func Note(ctx context.Context, tx database.Tx, all []Row) error {
	return insert(ctx, tx, all, `ON CONFLICT (backend_id, sha256) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,
		position = excluded.position, due_us = excluded.due_us`)
}

// NoteNew writes doubts, but none that exists.
func NoteNew(ctx context.Context, tx database.Tx, all []Row) error {
	return insert(ctx, tx, all, `ON CONFLICT (backend_id, sha256) DO NOTHING`)
}

func insert(ctx context.Context, tx database.Tx, all []Row, suffix string) error {
	rows := make([][]any, len(all))
	for i, r := range all {
		rows[i] = []any{r.BackendID, r.SHA256.Bytes(), r.Reason, r.Detail, r.Position, micros(r.Since), micros(r.Verified), micros(r.Due)}
	}
	_, err := database.InsertRows(ctx, tx, "doubts",
		[]string{"backend_id", "sha256", "reason", "detail", "position", "since_us", "verified_us", "due_us"}, rows, suffix)
	return err
}

// Forget removes the doubts about blobs of a backend.
func Forget(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest) error {
	for len(blobs) > 0 {
		n := min(len(blobs), atOnce)
		args := []any{backendID}
		for _, d := range blobs[:n] {
			args = append(args, d.Bytes())
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM doubts WHERE backend_id = $1 AND sha256 IN (`+database.Parameters(2, n)+`)`, args...); err != nil {
			return err
		}
		blobs = blobs[n:]
	}
	return nil
}

// ForgetPast removes doubts about locations that failed or were stored anew since.
func ForgetPast(ctx context.Context, tx database.Tx) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM doubts WHERE NOT EXISTS (SELECT 1 FROM storage_locations l WHERE l.backend_id = doubts.backend_id
		AND l.sha256 = doubts.sha256 AND `+fold.Live("l")+` AND l.changed <= doubts.position)`)
	return err
}

// atOnce bounds the parameters of a statement.
const atOnce = 500

// Find returns the ids of the backends in which each of the blobs is in doubt.
func Find(ctx context.Context, tx database.Tx, blobs []digest.Digest) (map[digest.Digest][]string, error) {
	found := map[digest.Digest][]string{}
	if len(blobs) > 1 {
		var one int
		if err := tx.QueryRowContext(ctx, `SELECT 1 FROM doubts LIMIT 1`).Scan(&one); errors.Is(err, sql.ErrNoRows) {
			return found, nil // almost always
		} else if err != nil {
			return nil, err
		}
	}
	for len(blobs) > 0 {
		n := min(len(blobs), atOnce)
		args := make([]any, n)
		for i, d := range blobs[:n] {
			args[i] = d.Bytes()
		}
		if err := query(ctx, tx, func(scan func(...any) error) error {
			var (
				sum     []byte
				backend string
			)
			if err := scan(&sum, &backend); err != nil {
				return err
			}
			d, err := digest.FromBytes(digest.SHA256, sum)
			found[d] = append(found[d], backend)
			return err
		}, `SELECT d.sha256, d.backend_id FROM `+ofBlobs+` WHERE `+stands+` AND l.sha256 IN (`+database.Parameters(1, n)+`)`, args...); err != nil {
			return nil, err
		}
		blobs = blobs[n:]
	}
	return found, nil
}

// ListNotElsewhere returns those of the blobs whose every live location is in doubt and
// outside the backend. One without a live location is none of them.
func ListNotElsewhere(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest) (all []digest.Digest, err error) {
	for chunk := range slices.Chunk(blobs, atOnce) {
		args := []any{backendID}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		if err := query(ctx, tx, func(scan func(...any) error) error {
			var sum []byte
			if err := scan(&sum); err != nil {
				return err
			}
			d, err := digest.FromBytes(digest.SHA256, sum)
			all = append(all, d)
			return err
		}, `SELECT l.sha256 FROM storage_locations l LEFT JOIN doubts d ON d.backend_id = l.backend_id AND d.sha256 = l.sha256 AND l.changed <= d.position
			WHERE `+fold.Live("l")+` AND l.sha256 IN (`+database.Parameters(2, len(chunk))+`)
			GROUP BY l.sha256 HAVING SUM(CASE WHEN d.sha256 IS NULL OR l.backend_id = $1 THEN 1 ELSE 0 END) = 0`, args...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Counts of the doubts about a backend.
type Counts struct {
	Unreadable, Suspect int64
	// Verified is when that was verified which was verified longest ago, zero if
	// none was; FirstUnverified the position of the event since which one is there
	// that never was, 0 if there is none. Both are of those that are unreadable.
	Verified        time.Time
	FirstUnverified uint64
}

// Count counts the doubts about a backend.
func Count(ctx context.Context, tx database.Tx, backendID string) (c Counts, err error) {
	var verified int64
	err = tx.QueryRowContext(ctx, `SELECT
		CAST(COALESCE(SUM(CASE WHEN d.reason = 'unreadable' THEN 1 ELSE 0 END), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN d.reason = 'unreadable' THEN 0 ELSE 1 END), 0) AS BIGINT),
		COALESCE(MIN(CASE WHEN d.reason = 'unreadable' AND d.verified_us > 0 THEN d.verified_us END), 0),
		COALESCE(MIN(CASE WHEN d.reason = 'unreadable' AND d.verified_us = 0 THEN l.changed END), 0)
		FROM `+located+` WHERE `+stands+` AND d.backend_id = $1`, backendID).Scan(&c.Unreadable, &c.Suspect, &verified, &c.FirstUnverified)
	c.Verified = timeOf(verified)
	return c, err
}

// Due is a doubt whose time has come, and what the blob should be.
type Due struct {
	BackendID string
	verify.Want
}

// ListDue returns at most limit doubts that are due, the one that waits longest first.
func ListDue(ctx context.Context, tx database.Tx, now time.Time, limit int) (due []Due, err error) {
	err = query(ctx, tx, func(scan func(...any) error) error {
		var (
			d       Due
			sha, b3 []byte
		)
		if err := scan(&d.BackendID, &sha, &b3, &d.Size); err != nil {
			return err
		}
		var err error
		if d.Digests.SHA256, err = digest.FromBytes(digest.SHA256, sha); err != nil {
			return err
		}
		d.Digests.BLAKE3, err = digest.FromBytes(digest.BLAKE3, b3)
		due = append(due, d)
		return err
	}, `SELECT d.backend_id, d.sha256, (SELECT b.blake3 FROM blobs b WHERE b.sha256 = d.sha256), (SELECT b.size FROM blobs b WHERE b.sha256 = d.sha256)
		FROM `+located+` WHERE `+stands+` AND d.due_us <= $1 AND EXISTS (SELECT 1 FROM blobs b WHERE b.sha256 = d.sha256)
		ORDER BY d.due_us, d.sha256 LIMIT $2`, micros(now), limit)
	return due, err
}

// Postpone sets when a doubt is due again.
func Postpone(ctx context.Context, tx database.Tx, backendID string, blob digest.Digest, until time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE doubts SET due_us = $1 WHERE backend_id = $2 AND sha256 = $3`, micros(until), backendID, blob.Bytes())
	return err
}

// Hasten makes the doubts due whose bytes a session has stored again.
func Hasten(ctx context.Context, tx database.Tx, backendID, uploadID string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE doubts SET due_us = $1 WHERE backend_id = $2 AND EXISTS
		(SELECT 1 FROM upload_blobs u WHERE u.upload_id = $3 AND u.sha256 = doubts.sha256 AND u.source = 'sent')`, micros(now), backendID, uploadID)
	return err
}

// HastenBlobs makes the doubts of these blobs due: their bytes were stored again. They
// are those of one request, a few hundred at most.
func HastenBlobs(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest, now time.Time) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM doubts WHERE backend_id = $1 LIMIT 1`, backendID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(blobs) == 0 {
		return nil // almost always
	}
	if err != nil {
		return err
	}
	args := []any{micros(now), backendID}
	for _, sha := range blobs {
		args = append(args, sha.Bytes())
	}
	_, err = tx.ExecContext(ctx, `UPDATE doubts SET due_us = $1 WHERE backend_id = $2 AND sha256 IN (`+database.Parameters(3, len(blobs))+`)`, args...)
	return err
}

func query(ctx context.Context, tx database.Tx, each func(scan func(...any) error) error, text string, args ...any) error {
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// micros and timeOf turn times into columns, in which 0 is never, and back.
func micros(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}

func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
