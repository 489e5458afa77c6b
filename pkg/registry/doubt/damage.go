package doubt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// Damage is a file of a package, or its manifest, with a location that failed or is in doubt.
type Damage struct {
	Position                uint64 // of the publication
	Producer, Name, Version string
	Path                    string // "" for the manifest
	SHA256                  digest.Digest
	Size                    int64
	BackendID, Reason       string
	Event                   uint64    // by which the location failed, 0 if it is in doubt
	Since                   time.Time // of a doubt
}

// Filter narrows ListDamage; empty strings match all. AfterPosition, AfterPath and
// AfterBackend are those of the last row of the page before.
type Filter struct {
	Producer, Name, Version string
	AfterPosition           uint64
	AfterPath, AfterBackend string
	// A page has at most Limit rows and Bytes of texts, but at least one row if there is any.
	Limit, Bytes int
}

// errFull ends the reading of rows.
var errFull = errors.New("the page is full")

// ListDamage returns a page in order of publication, path and backend, and whether there is more.
func ListDamage(ctx context.Context, tx database.Tx, f Filter) (page []Damage, more bool, err error) {
	args := []any{f.AfterPosition, f.AfterPath, f.AfterBackend, f.Limit + 1}
	size := 0
	where := ""
	for _, is := range [][2]string{{"producer", f.Producer}, {"name", f.Name}, {"version", f.Version}} {
		if is[1] != "" {
			args = append(args, is[1])
			where += fmt.Sprintf(" AND p.%s = $%d", is[0], len(args))
		}
	}
	bad := `SELECT l.backend_id, l.sha256, l.reason, l.changed AS event, 0 AS since_us FROM storage_locations l
			WHERE ` + fold.Failed("l") + ` UNION ALL
		SELECT d.backend_id, d.sha256, d.reason, 0 AS event, d.since_us FROM ` + located + ` WHERE ` + stands
	if f.Version != "" { // of one package: not to look at every location
		of := ` (SELECT f.sha256 FROM package_files f JOIN packages p ON p.position = f.package WHERE 1 = 1` + where +
			` UNION SELECT p.manifest_sha256 FROM packages p WHERE 1 = 1` + where + `)`
		bad = `SELECT l.backend_id, l.sha256, l.reason, l.changed AS event, 0 AS since_us FROM storage_locations l
			WHERE ` + fold.Failed("l") + ` AND l.sha256 IN` + of + ` UNION ALL
		SELECT d.backend_id, d.sha256, d.reason, 0 AS event, d.since_us FROM ` + ofBlobs + ` WHERE ` + stands + ` AND l.sha256 IN` + of
	}
	// CROSS JOIN: SQLite joins from left to right then, from the little that is bad.
	err = query(ctx, tx, func(scan func(...any) error) error {
		var (
			d     Damage
			sum   []byte
			since int64
		)
		if err := scan(&d.Position, &d.Producer, &d.Name, &d.Version, &d.Path, &sum, &d.Size, &d.BackendID, &d.Reason, &d.Event, &since); err != nil {
			return err
		}
		size += len(d.Producer) + len(d.Name) + len(d.Version) + len(d.Path)
		if len(page) == f.Limit || len(page) > 0 && size > f.Bytes {
			return errFull
		}
		d.Since = timeOf(since)
		var err error
		d.SHA256, err = digest.FromBytes(digest.SHA256, sum)
		page = append(page, d)
		return err
	}, `WITH bad AS (`+bad+`), hit AS (
		SELECT p.position, p.producer, p.name, p.version, f.path, bad.* FROM bad
			CROSS JOIN package_files f CROSS JOIN packages p WHERE f.sha256 = bad.sha256 AND p.position = f.package`+where+` UNION ALL
		SELECT p.position, p.producer, p.name, p.version, '' AS path, bad.* FROM bad
			CROSS JOIN packages p WHERE p.manifest_sha256 = bad.sha256`+where+`)
		SELECT h.position, h.producer, h.name, h.version, h.path, h.sha256, b.size, h.backend_id, h.reason, h.event, h.since_us
		FROM hit h CROSS JOIN blobs b WHERE b.sha256 = h.sha256
		AND (h.position, h.path, h.backend_id) > ($1, $2, $3) ORDER BY h.position, h.path, h.backend_id LIMIT $4`, args...)
	if errors.Is(err, errFull) {
		return page, true, nil
	}
	return page, false, err
}
