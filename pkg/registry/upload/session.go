package upload

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// States of a session.
const (
	StateOpen      = "open"
	StatePublished = "published"
	stateAbandoned = "abandoned" // being removed; to callers it is not there
)

// ErrNotFound: there is no such session, or no longer.
var ErrNotFound = errors.New("no such upload session")

// ErrNotOpen: the session was published or changed meanwhile.
var ErrNotOpen = errors.New("the upload session is not open at this revision")

// Session is a row of uploads.
type Session struct {
	ID                      string
	Producer, Name, Version string
	RetentionClass, Tier    string
	MediaType               string
	Annotations             map[string]string
	BackendID, BackendName  string
	Actor, State            string
	Holder                  string // of whose limits it takes; "" of nobody's
	Created, Expires        time.Time
	Revision                int64 // raised by whatever changes what Publish would seal
	Files, Texts            int64 // as of Usage
}

const sessionColumns = `id, producer, name, version, retention_class, tier, media_type, annotations, backend_id, backend_name, actor, state, created_us, expires_us, holder, revision, files, texts`

// Create inserts a session.
func Create(ctx context.Context, tx database.Tx, s Session) error {
	annotations, err := json.Marshal(s.Annotations)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO uploads (`+sessionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, 0, $16)`,
		s.ID, s.Producer, s.Name, s.Version, s.RetentionClass, s.Tier, s.MediaType, string(annotations), s.BackendID, s.BackendName,
		s.Actor, StateOpen, s.Created.UnixMicro(), s.Expires.UnixMicro(), s.Holder, len(annotations))
	return err
}

// Get returns a session. ErrNotFound.
func Get(ctx context.Context, tx database.Tx, id string) (Session, error) {
	return scanSession(tx.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM uploads WHERE id = $1`, id))
}

// Lock is Get of a session that is about to change: it raises an open one's revision, so
// that Seal refuses to seal what was read before. On an engine with row locks, Seal waits
// until the transaction ends.
func Lock(ctx context.Context, tx database.Tx, id string) (Session, error) {
	s, err := scanSession(tx.QueryRowContext(ctx, `UPDATE uploads SET revision = revision + 1 WHERE id = $1 AND state = 'open' RETURNING `+sessionColumns, id))
	if errors.Is(err, ErrNotFound) {
		return Get(ctx, tx, id)
	}
	return s, err
}

func scanSession(row *sql.Row) (Session, error) {
	var (
		s                Session
		annotations      string
		created, expires int64
	)
	err := row.Scan(&s.ID, &s.Producer, &s.Name, &s.Version,
		&s.RetentionClass, &s.Tier, &s.MediaType, &annotations, &s.BackendID, &s.BackendName, &s.Actor, &s.State, &created, &expires, &s.Holder, &s.Revision, &s.Files, &s.Texts)
	if errors.Is(err, sql.ErrNoRows) || err == nil && s.State == stateAbandoned {
		return s, ErrNotFound
	}
	if err != nil {
		return s, err
	}
	s.Created, s.Expires = time.UnixMicro(created).UTC(), time.UnixMicro(expires).UTC()
	return s, json.Unmarshal([]byte(annotations), &s.Annotations)
}

// Extend moves the end of an open session.
func Extend(ctx context.Context, tx database.Tx, id string, expires time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET expires_us = $1 WHERE id = $2 AND state = 'open'`, expires.UnixMicro(), id)
	return err
}

// Seal marks a session published, if it is open and still at the revision.
// ErrNotOpen otherwise.
func Seal(ctx context.Context, tx database.Tx, id string, revision int64) error {
	result, err := tx.ExecContext(ctx, `UPDATE uploads SET state = 'published' WHERE id = $1 AND state = 'open' AND revision = $2`, id, revision)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrNotOpen, err)
	}
	return nil
}

// Abandon ends an open session: from now on it is not found. What belongs to it
// is left to DeleteSome, and counts for sweeps until then.
func Abandon(ctx context.Context, tx database.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET state = 'abandoned', expires_us = 0 WHERE id = $1 AND state = 'open'`, id)
	return err
}

// DeleteSome removes about limit rows of a session, and returns how many it
// removed: the session is gone when these are fewer than limit. Its own row goes
// last, so that what is left of it is found again. The session must be over.
func DeleteSome(ctx context.Context, tx database.Tx, id string, limit int) (removed int, err error) {
	for _, rows := range []struct{ table, session, key string }{
		{"upload_files", "upload_id", "path"}, {"upload_blobs", "upload_id", "sha256"}, {"upload_parts", "upload_id", "path"}, {"uploads", "id", "id"},
	} {
		if removed >= limit {
			return removed, nil
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM `+rows.table+` WHERE `+rows.session+` = $1 AND `+rows.key+` IN
			(SELECT `+rows.key+` FROM `+rows.table+` WHERE `+rows.session+` = $1 LIMIT $2)`, id, limit-removed)
		if err != nil {
			return removed, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return removed, err
		}
		removed += int(n)
	}
	return removed, nil
}

// ListExpired returns sessions whose time was over at the given time, at most limit.
func ListExpired(ctx context.Context, tx database.Tx, at time.Time, limit int) ([]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM uploads WHERE expires_us <= $1 ORDER BY expires_us LIMIT $2`, at.UnixMicro(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func fromNullable(algorithm digest.Algorithm, sum []byte) (digest.Digest, error) {
	if sum == nil {
		return digest.Digest{}, nil
	}
	return digest.FromBytes(algorithm, sum)
}

func nullable(d digest.Digest) any {
	if d.IsZero() {
		return nil
	}
	return d.Bytes()
}

func bothNullable(sha, b3 []byte) (digest.Dual, error) {
	s, err := fromNullable(digest.SHA256, sha)
	if err != nil {
		return digest.Dual{}, fmt.Errorf("scratch: %w", err)
	}
	b, err := fromNullable(digest.BLAKE3, b3)
	return digest.Dual{SHA256: s, BLAKE3: b}, err
}
