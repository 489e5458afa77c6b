package view

import (
	"context"
	"database/sql"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// SHA256Of returns the SHA-256 of a blob that is named by either digest.
// ErrNotFound.
func SHA256Of(ctx context.Context, tx database.Tx, name digest.Digest) (digest.Digest, error) {
	if name.Algorithm() != digest.BLAKE3 {
		return name, nil
	}
	var sum []byte
	if err := tx.QueryRowContext(ctx, `SELECT sha256 FROM blobs WHERE blake3 = $1`, name.Bytes()).Scan(&sum); err != nil {
		return digest.Digest{}, found(err)
	}
	return digest.FromBytes(digest.SHA256, sum)
}

// Holds reports whether a package of the producer has the blob as a file or as
// its manifest.
func Holds(ctx context.Context, tx database.Tx, producer string, sha256 digest.Digest) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT CASE WHEN
		EXISTS (SELECT 1 FROM package_files WHERE sha256 = $1 AND producer = $2) OR
		EXISTS (SELECT 1 FROM packages WHERE manifest_sha256 = $1 AND producer = $2) THEN 1 ELSE 0 END`, sha256.Bytes(), producer).Scan(&n)
	return n != 0, err
}

// ListHolders returns producers whose packages have the blob as a file or as
// their manifest, each once, at most limit. It takes one step in the index for
// each producer, however many packages they have.
func ListHolders(ctx context.Context, tx database.Tx, sha256 digest.Digest, limit int) ([]string, error) {
	// A manifest names its package, so its producer is one: there is no need to bound them.
	holders, err := producers(tx.QueryContext(ctx, `SELECT producer FROM packages WHERE manifest_sha256 = $1`, sha256.Bytes()))
	if err != nil {
		return nil, err
	}
	files, err := producers(tx.QueryContext(ctx, `WITH RECURSIVE holders (producer) AS (
		SELECT MIN(producer) FROM package_files WHERE sha256 = $1
		UNION ALL
		SELECT (SELECT MIN(f.producer) FROM package_files f WHERE f.sha256 = $1 AND f.producer > h.producer) FROM holders h WHERE h.producer IS NOT NULL
	) SELECT producer FROM holders WHERE producer IS NOT NULL LIMIT $2`, sha256.Bytes(), limit))
	for _, producer := range files {
		if !slices.Contains(holders, producer) {
			holders = append(holders, producer)
		}
	}
	return holders[:min(limit, len(holders))], err
}

// ListProducers returns producers of packages in the database's text order,
// from the given one on ("": from the first), at most limit.
func ListProducers(ctx context.Context, tx database.Tx, from string, limit int) ([]string, error) {
	return producers(tx.QueryContext(ctx, `WITH RECURSIVE found (producer) AS (
		SELECT MIN(producer) FROM packages WHERE producer >= $1
		UNION ALL
		SELECT (SELECT MIN(p.producer) FROM packages p WHERE p.producer > f.producer) FROM found f WHERE f.producer IS NOT NULL
	) SELECT producer FROM found WHERE producer IS NOT NULL LIMIT $2`, from, limit))
}

func producers(rows *sql.Rows, err error) ([]string, error) {
	return collect(rows, err, func(rows *sql.Rows) (producer string, err error) { return producer, rows.Scan(&producer) })
}
