package upload

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Usage is what the open sessions of one holder have in these tables.
type Usage struct {
	Sessions, Files int64
	Texts           int64 // bytes of paths, media types and annotations
}

// UsageOf returns what a holder has.
func UsageOf(ctx context.Context, tx database.Tx, holder string, now time.Time) (u Usage, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(files), 0), COALESCE(SUM(texts), 0) FROM uploads
		WHERE holder = $1 AND state = 'open' AND expires_us > $2`, holder, now.UnixMicro()).Scan(&u.Sessions, &u.Files, &u.Texts)
	return u, err
}

// OldestEmpty returns the oldest open session of a holder in which nothing was
// declared. ErrNotFound.
func OldestEmpty(ctx context.Context, tx database.Tx, holder string) (id string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT id FROM uploads WHERE holder = $1 AND state = 'open' AND files = 0 ORDER BY created_us LIMIT 1`, holder).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return id, err
}

// count adds to what a session has.
func count(ctx context.Context, tx database.Tx, id string, files, texts int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET files = files + $1, texts = texts + $2 WHERE id = $3`, files, texts, id)
	return err
}

// TextsOf is how many bytes the texts of files have.
func TextsOf(files []File) (texts int64) {
	for _, f := range files {
		texts += int64(len(f.Path) + len(f.MediaType))
	}
	return texts
}
