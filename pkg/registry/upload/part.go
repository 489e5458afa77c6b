package upload

import (
	"context"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// Part is a piece of a file that is sent in several requests. Its bytes are a
// blob of their own in the placement; its row is the intent that keeps them.
type Part struct {
	Start, Size int64
	SHA256      digest.Digest
}

// InsertPart records a part after the existing ones. It returns false if another
// request was faster.
func InsertPart(ctx context.Context, tx database.Tx, id, path string, p Part) (bool, error) {
	result, err := tx.ExecContext(ctx, `INSERT INTO upload_parts (upload_id, path, start, size, sha256) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (upload_id, path, start) DO NOTHING`, id, path, p.Start, p.Size, p.SHA256.Bytes())
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// ListParts returns a file's parts in order.
func ListParts(ctx context.Context, tx database.Tx, id, path string) ([]Part, error) {
	rows, err := tx.QueryContext(ctx, `SELECT start, size, sha256 FROM upload_parts WHERE upload_id = $1 AND path = $2 ORDER BY start`, id, path)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var parts []Part
	for rows.Next() {
		var (
			p   Part
			sum []byte
		)
		if err := rows.Scan(&p.Start, &p.Size, &sum); err != nil {
			return nil, err
		}
		if p.SHA256, err = digest.FromBytes(digest.SHA256, sum); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, rows.Err()
}

// DeleteParts forgets a file's parts from an offset on.
func DeleteParts(ctx context.Context, tx database.Tx, id, path string, from int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM upload_parts WHERE upload_id = $1 AND path = $2 AND start >= $3`, id, path, from)
	return err
}

// HasContent reports whether the session has the bytes of a content.
func HasContent(ctx context.Context, tx database.Tx, id string, content digest.Digest) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM upload_blobs WHERE upload_id = $1 AND sha256 = $2`, id, content.Bytes()).Scan(&n)
	return n > 0, err
}
