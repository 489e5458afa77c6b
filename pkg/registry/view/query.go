package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// ErrNotFound: the views have no such row.
var ErrNotFound = errors.New("no such row in the views")

// Package is a row of packages.
type Package struct {
	Position                uint64
	Producer, Name, Version string
	ManifestDigest          digest.Digest
	ManifestSize            int64
	RetentionClass, Tier    string
	MediaType               string
	Annotations             map[string]string
	Files                   int
	Bytes                   int64
	Published               time.Time
	Actor, BackendID        string
	Abandoned               uint64 // position of the event by which the backend was given up, 0 if it was not
}

const packageColumns = `position, producer, name, version, manifest_sha256, manifest_size, retention_class, tier,
	media_type, annotations, files, bytes, published_us, actor, backend_id,
	COALESCE((SELECT a.position FROM abandoned a WHERE a.backend_id = packages.backend_id), 0)`

func scanPackage(row interface{ Scan(...any) error }) (Package, error) {
	var (
		p           Package
		sum         []byte
		annotations string
		published   int64
	)
	if err := row.Scan(&p.Position, &p.Producer, &p.Name, &p.Version, &sum, &p.ManifestSize, &p.RetentionClass, &p.Tier,
		&p.MediaType, &annotations, &p.Files, &p.Bytes, &published, &p.Actor, &p.BackendID, &p.Abandoned); err != nil {
		return p, found(err)
	}
	p.Published = time.UnixMicro(published).UTC()
	var err error
	if p.ManifestDigest, err = digest.FromBytes(digest.SHA256, sum); err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(annotations), &p.Annotations)
}

func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// FindPackage returns one version. ErrNotFound.
func FindPackage(ctx context.Context, tx database.Tx, producer, name, version string) (Package, error) {
	return scanPackage(tx.QueryRowContext(ctx, `SELECT `+packageColumns+` FROM packages WHERE producer = $1 AND name = $2 AND version = $3`, producer, name, version))
}

// FindPackageAt returns the package that the event at a position published. ErrNotFound.
func FindPackageAt(ctx context.Context, tx database.Tx, position uint64) (Package, error) {
	return scanPackage(tx.QueryRowContext(ctx, `SELECT `+packageColumns+` FROM packages WHERE position = $1`, position))
}

// FindManifest returns a package that has the manifest. ErrNotFound.
func FindManifest(ctx context.Context, tx database.Tx, manifest digest.Digest) (Package, error) {
	return scanPackage(tx.QueryRowContext(ctx, `SELECT `+packageColumns+` FROM packages WHERE manifest_sha256 = $1 ORDER BY position LIMIT 1`, manifest.Bytes()))
}

// size of the texts in bytes. Annotations may be 270 KiB.
func (p *Package) size() int {
	size := len(p.Producer) + len(p.Name) + len(p.Version) + len(p.RetentionClass) + len(p.MediaType) + len(p.Actor)
	for key, value := range p.Annotations {
		size += len(key) + len(value)
	}
	return size
}

// File is a row of package_files with its blob.
type File struct {
	Path       string
	Size       int64
	Digests    digest.Dual
	Executable bool
	MediaType  string
}

// FindFile returns one file of a package. ErrNotFound.
func FindFile(ctx context.Context, tx database.Tx, producer, name, version, path string) (File, error) {
	var (
		f          = File{Path: path}
		sha, b3    []byte
		executable int
	)
	if err := tx.QueryRowContext(ctx, `SELECT b.sha256, b.blake3, b.size, f.executable, f.media_type
		FROM packages p JOIN package_files f ON f.package = p.position JOIN blobs b ON b.sha256 = f.sha256
		WHERE p.producer = $1 AND p.name = $2 AND p.version = $3 AND f.path = $4`, producer, name, version, path).
		Scan(&sha, &b3, &f.Size, &executable, &f.MediaType); err != nil {
		return f, found(err)
	}
	f.Executable = executable != 0
	var err error
	f.Digests, err = dual(sha, b3)
	return f, err
}

func dual(sha, b3 []byte) (digest.Dual, error) {
	s, err := digest.FromBytes(digest.SHA256, sha)
	if err != nil {
		return digest.Dual{}, err
	}
	b, err := digest.FromBytes(digest.BLAKE3, b3)
	return digest.Dual{SHA256: s, BLAKE3: b}, err
}

// Backend is a row of backends.
type Backend struct{ ID, Name, Driver, Place string }

// FindBackend returns a registered backend by its id. ErrNotFound.
func FindBackend(ctx context.Context, tx database.Tx, id string) (Backend, error) {
	b := Backend{ID: id}
	err := tx.QueryRowContext(ctx, `SELECT name, driver, place FROM backends WHERE id = $1`, id).Scan(&b.Name, &b.Driver, &b.Place)
	return b, found(err)
}

// FindAbandoned returns the position of the event by which a backend was given
// up. ErrNotFound if it was not, or is one again.
func FindAbandoned(ctx context.Context, tx database.Tx, id string) (position uint64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT position FROM abandoned WHERE backend_id = $1`, id).Scan(&position)
	return position, found(err)
}

// FindBackendAt returns the last backend that was registered at a place under a
// name: of those with content (locations that were not given up), if there are any. ErrNotFound.
func FindBackendAt(ctx context.Context, tx database.Tx, name, place string) (b Backend, content bool, err error) {
	b = Backend{Name: name, Place: place}
	has, err := hasLocation(ctx, tx, `c.reason <> 'abandoned'`, `l.reason <> 'abandoned'`)
	if err != nil {
		return b, false, err
	}
	var n int
	err = tx.QueryRowContext(ctx, `SELECT id, driver, CASE WHEN `+has+` THEN 1 ELSE 0 END AS content
		FROM backends b WHERE name = $1 AND place = $2 ORDER BY content DESC, registered DESC LIMIT 1`, name, place).Scan(&b.ID, &b.Driver, &n)
	return b, n == 1, found(err)
}

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
	return database.Collect(rows, err, func(rows *sql.Rows) (producer string, err error) { return producer, rows.Scan(&producer) })
}
