package view

import (
	"context"
	"database/sql"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// ListFiles returns files of the package that an event published, in the database's text
// order of paths, after a path ("" is before all). below is a folder or a file, "" for all.
// limit may be one more than a page has.
func ListFiles(ctx context.Context, tx database.Tx, position uint64, below, after string, limit int) ([]File, error) {
	args := arguments{int64(position), after} //nolint:gosec // a position
	where := ""
	if below != "" {
		where = ` AND (f.path = ` + args.add(below) + ` OR substr(f.path, 1, ` + args.add(utf8.RuneCountInString(below)+1) + `) = ` + args.add(below+"/") + `)` // LIKE ignores case in SQLite, and an order depends on the database
	}
	rows, err := tx.QueryContext(ctx, `SELECT f.path, f.sha256, b.blake3, b.size, f.executable, f.media_type
		FROM package_files f JOIN blobs b ON b.sha256 = f.sha256 WHERE f.package = $1 AND f.path > $2`+where+` ORDER BY f.path LIMIT `+args.add(limit), args...)
	return database.Collect(rows, err, func(rows *sql.Rows) (File, error) {
		var (
			f          File
			sha, b3    []byte
			executable int
		)
		if err := rows.Scan(&f.Path, &sha, &b3, &f.Size, &executable, &f.MediaType); err != nil {
			return f, err
		}
		f.Executable = executable != 0
		var err error
		f.Digests, err = dual(sha, b3)
		return f, err
	})
}

// Use is a package that has a blob, under a path; "" if the blob is its manifest.
type Use struct {
	Position                      uint64
	Producer, Name, Version, Path string
}

// ListUses returns where a blob is a file, by producer, position and path, after the given
// one, if any; of one producer, unless that is "".
func ListUses(ctx context.Context, tx database.Tx, sha256 digest.Digest, producer string, after *Use, limit int) ([]Use, error) {
	args := arguments{sha256.Bytes()}
	where := args.equal("f.producer", producer)
	if after != nil {
		where += ` AND (f.producer, f.package, f.path) > (` + args.add(after.Producer) + `, ` + args.add(int64(after.Position)) + `, ` + args.add(after.Path) + `)` //nolint:gosec // a position
	}
	return uses(tx.QueryContext(ctx, `SELECT f.package, p.producer, p.name, p.version, f.path
		FROM package_files f JOIN packages p ON p.position = f.package
		WHERE f.sha256 = $1`+where+` ORDER BY f.producer, f.package, f.path LIMIT `+args.add(limit), args...))
}

// ListManifestUses returns the packages whose manifest a blob is. A manifest names its
// package, so there is one, or none.
func ListManifestUses(ctx context.Context, tx database.Tx, sha256 digest.Digest, producer string) ([]Use, error) {
	args := arguments{sha256.Bytes()}
	return uses(tx.QueryContext(ctx, `SELECT position, producer, name, version, '' FROM packages WHERE manifest_sha256 = $1`+args.equal("producer", producer), args...))
}

func uses(rows *sql.Rows, err error) ([]Use, error) {
	return database.Collect(rows, err, func(rows *sql.Rows) (u Use, err error) {
		return u, rows.Scan(&u.Position, &u.Producer, &u.Name, &u.Version, &u.Path)
	})
}

// ListStandings returns a blob's locations.
func ListStandings(ctx context.Context, tx database.Tx, sha256 digest.Digest) ([]Location, error) {
	rows, err := tx.QueryContext(ctx, `SELECT l.backend_id, CASE WHEN `+fold.Live("l")+` THEN '`+StateLive+`' ELSE '`+StateFailed+`' END,
		CASE WHEN `+fold.GivenUp(fold.Names{}, "l")+` IS NULL THEN l.reason ELSE '`+ReasonAbandoned+`' END
		FROM storage_locations l WHERE l.sha256 = $1 ORDER BY l.backend_id`, sha256.Bytes())
	return database.Collect(rows, err, func(rows *sql.Rows) (l Location, err error) {
		return l, rows.Scan(&l.BackendID, &l.State, &l.Reason)
	})
}
