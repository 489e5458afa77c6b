package upload

import (
	"context"
	"errors"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// FindClaimed returns those of the blobs that a session on the backend declared,
// stored, or has as a part. Expired sessions count until they are removed.
func FindClaimed(ctx context.Context, tx database.Tx, backendID string, blobs []digest.Digest) (map[digest.Digest]bool, error) {
	claimed := make(map[digest.Digest]bool)
	for chunk := range slices.Chunk(blobs, chunkSize) {
		args := []any{backendID}
		for _, sha := range chunk {
			args = append(args, sha.Bytes())
		}
		for _, table := range []string{"upload_files", "upload_blobs", "upload_parts"} {
			if err := addSums(ctx, tx, claimed, `SELECT DISTINCT t.sha256 FROM `+table+` t
				WHERE t.sha256 IN (`+database.Parameters(2, len(chunk))+`) AND (SELECT u.backend_id FROM uploads u WHERE u.id = t.upload_id) = $1`, args...); err != nil {
				return nil, err
			}
		}
	}
	return claimed, nil
}

// DropSwept forgets content that the session sent and that a sweep removed.
func DropSwept(ctx context.Context, tx database.Tx, id string, gone []digest.Digest) error {
	for _, sha := range gone {
		if _, err := tx.ExecContext(ctx, `DELETE FROM upload_blobs WHERE upload_id = $1 AND sha256 = $2`, id, sha.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// addSums adds the digests that a query returns.
func addSums(ctx context.Context, tx database.Tx, to map[digest.Digest]bool, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		var sum []byte
		if err := rows.Scan(&sum); err != nil {
			return errors.Join(err, rows.Close())
		}
		sha, err := digest.FromBytes(digest.SHA256, sum)
		if err != nil {
			return errors.Join(err, rows.Close())
		}
		to[sha] = true
	}
	return errors.Join(rows.Err(), rows.Close())
}
