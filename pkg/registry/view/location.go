package view

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// States of a location, and the reason of those that failed as their backend was given up.
const (
	StateLive       = fold.StateLive
	StateFailed     = fold.StateFailed
	ReasonAbandoned = fold.ReasonAbandoned
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
	return findBlob(ctx, tx, column+` = $1`, name.Bytes())
}

// FindBlobOf is FindBlob of a file of a package.
func FindBlobOf(ctx context.Context, tx database.Tx, producer, name, version, path string) (Blob, []Location, error) {
	return findBlob(ctx, tx, `sha256 = (SELECT f.sha256 FROM packages p JOIN package_files f ON f.package = p.position
		WHERE p.producer = $1 AND p.name = $2 AND p.version = $3 AND f.path = $4)`, producer, name, version, path)
}

func findBlob(ctx context.Context, tx database.Tx, where string, args ...any) (Blob, []Location, error) {
	rows, err := tx.QueryContext(ctx, `SELECT b.sha256, b.blake3, b.size, l.backend_id, l.state, l.reason, l.changed, `+fold.GivenUp(fold.Names{}, "l")+`
		FROM blobs b JOIN storage_locations l ON l.sha256 = b.sha256 WHERE b.`+where, args...)
	var blob Blob
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (located, error) {
		var (
			l       located
			sha, b3 []byte
		)
		if err := rows.Scan(&sha, &b3, &blob.Size, &l.BackendID, &l.State, &l.Reason, &l.changed, &l.givenUp); err != nil {
			return l, err
		}
		l.settle()
		var err error
		blob.Digests, err = dual(sha, b3)
		return l, err
	})
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	slices.SortFunc(found, func(a, b located) int {
		return cmp.Or(strings.Compare(b.State, a.State), cmp.Compare(a.changed, b.changed), strings.Compare(a.BackendID, b.BackendID))
	})
	locations := make([]Location, len(found))
	for i, l := range found {
		locations[i] = l.Location
	}
	return blob, locations, err
}

// located is a Location as its row is, and the event by which its backend was given up since.
type located struct {
	Location
	changed int64
	givenUp sql.NullInt64
}

// settle makes it what it is.
func (l *located) settle() {
	if l.givenUp.Valid {
		l.State, l.Reason, l.changed = StateFailed, ReasonAbandoned, l.givenUp.Int64
	}
}

// inChunks calls query for at most 500 digests at a time. Of more, those that are near each
// other in the indexes are looked up together: a page is read once for all of them.
func inChunks(digests []digest.Digest, query func(chunk []digest.Digest) error) error {
	const most = 500
	if len(digests) > most {
		digests = slices.SortedFunc(slices.Values(digests), func(a, b digest.Digest) int {
			x, y := a.Sum(), b.Sum()
			return bytes.Compare(x[:], y[:])
		})
	}
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
			WHERE b.sha256 IN (`+database.Parameters(2, len(chunk))+`) AND `+fold.Live("l")+`
			AND EXISTS (SELECT 1 FROM package_files f WHERE f.sha256 = b.sha256 AND f.producer = $1)`, args...)
		_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
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

// FindOwn returns those of the blobs that a package of the producer has as a file, whether
// or not a location of them is live.
func FindOwn(ctx context.Context, tx database.Tx, producer string, digests []digest.Digest) (map[digest.Digest]Blob, error) {
	own := make(map[digest.Digest]Blob, len(digests))
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := []any{producer}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		rows, err := tx.QueryContext(ctx, `SELECT b.sha256, b.blake3, b.size FROM blobs b WHERE b.sha256 IN (`+database.Parameters(2, len(chunk))+`)
			AND EXISTS (SELECT 1 FROM package_files f WHERE f.sha256 = b.sha256 AND f.producer = $1)`, args...)
		_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var (
				sha, b3 sql.RawBytes
				size    int64
			)
			if err := rows.Scan(&sha, &b3, &size); err != nil {
				return struct{}{}, err
			}
			both, err := dual(sha, b3)
			own[both.SHA256] = Blob{both, size}
			return struct{}{}, err
		})
		return err
	})
	return own, err
}

// Reusable is a blob and the backends that have it live.
type Reusable struct {
	Blob
	Backends []string
}

// CountLive returns how many of the digests have a live location in the backend.
func CountLive(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest) (int, error) {
	sum := 0
	if len(digests) == 0 {
		return 0, nil
	}
	gaveUp, err := fold.LastAbandonment(ctx, tx, fold.Names{}, backendID)
	if err != nil {
		return 0, err
	}
	err = inChunks(digests, func(chunk []digest.Digest) error {
		sums := make([][]byte, len(chunk))
		for i, d := range chunk {
			sums[i] = d.Bytes()
		}
		n, err := fold.CountLive(ctx, tx, fold.Names{}, backendID, gaveUp, sums)
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
	return findLocated(ctx, tx, backendID, digests, " AND "+fold.Live("l"))
}

func findLocated(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest, and string) (map[digest.Digest]bool, error) {
	located := make(map[digest.Digest]bool)
	err := inChunks(digests, func(chunk []digest.Digest) error {
		args := []any{backendID}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		rows, err := tx.QueryContext(ctx, `SELECT l.sha256 FROM storage_locations l WHERE l.backend_id = $1 AND l.sha256 IN (`+database.Parameters(2, len(chunk))+`)`+and, args...)
		_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
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
		rows, err := tx.QueryContext(ctx, `SELECT DISTINCT l.sha256 FROM storage_locations l WHERE l.sha256 IN (`+database.Parameters(1, len(chunk))+`) AND `+fold.Live("l"), args...)
		live := make(map[digest.Digest]bool, len(chunk))
		if _, err := database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
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
		rows, err := tx.QueryContext(ctx, `SELECT l.sha256, l.state, l.reason, l.changed, l.checked, l.checked_us, `+fold.GivenUp(fold.Names{}, "l")+` FROM storage_locations l
			WHERE l.backend_id = $1 AND l.sha256 IN (`+database.Parameters(2, len(chunk))+`)`, args...)
		_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var (
				sum []byte
				l   located
				s   Standing
				at  int64
			)
			if err := rows.Scan(&sum, &l.State, &l.Reason, &l.changed, &s.Checked, &at, &l.givenUp); err != nil {
				return struct{}{}, err
			}
			l.settle()
			s.State, s.Reason, s.Changed, s.CheckedAt = l.State, l.Reason, uint64(l.changed), timeOf(at)
			d, err := digest.FromBytes(digest.SHA256, sum)
			all[d] = s
			return struct{}{}, err
		})
		return err
	})
	return all, err
}
