// Package tags has the queries of tags, as they are and as they were.
package tags

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// Tag is what a tag points to, or pointed to.
type Tag struct {
	Producer, Name, Tag string
	Version             string        // "" if it was removed
	Manifest            digest.Digest // zero if it was removed
	Digest              string
	Immutable           bool
	Position            uint64 // of the event
	Actor               string
	Set                 time.Time
}

const historyColumns = `h.producer, h.name, h.tag, h.position, h.version, h.manifest_sha256, h.digest, h.immutable, h.actor, h.set_us`

func scanTag(row interface{ Scan(...any) error }) (t Tag, err error) {
	var (
		tag, sum  []byte
		immutable int
		at        int64
	)
	if err := row.Scan(&t.Producer, &t.Name, &tag, &t.Position, &t.Version, &sum, &t.Digest, &immutable, &t.Actor, &at); err != nil {
		return t, found(err)
	}
	t.Tag, t.Immutable, t.Set = string(tag), immutable != 0, time.UnixMicro(at).UTC()
	if len(sum) > 0 {
		t.Manifest, err = digest.FromBytes(digest.SHA256, sum)
	}
	return t, err
}

// Find returns what a tag points to, or pointed to at a position of the log (0: now).
// view.ErrNotFound if there is no such tag, or was none.
func Find(ctx context.Context, tx database.Tx, producer, name, tag string, at uint64) (Tag, error) {
	args := arguments{producer, name, []byte(tag)}
	where := ""
	if at > 0 {
		where = ` AND h.position <= ` + args.add(int64(at)) //nolint:gosec // a position
	}
	t, err := scanTag(tx.QueryRowContext(ctx, `SELECT `+historyColumns+` FROM tag_history h
		WHERE h.producer = $1 AND h.name = $2 AND h.tag = $3`+where+` ORDER BY h.position DESC LIMIT 1`, args...))
	if err == nil && t.Version == "" {
		return Tag{}, view.ErrNotFound
	}
	return t, err
}

// List returns tags of a name behind one ("" is before all), in the order of their
// bytes, as they are, or as they were at a position of the log (0: now).
func List(ctx context.Context, tx database.Tx, producer, name, after string, at uint64, limit int) ([]Tag, error) {
	args := arguments{producer, name, []byte(after)}
	if at == 0 {
		return collect(tx.QueryContext(ctx, `SELECT `+historyColumns+` FROM tags t
			JOIN tag_history h ON h.producer = t.producer AND h.name = t.name AND h.tag = t.tag AND h.position = t.position
			WHERE t.producer = $1 AND t.name = $2 AND t.tag > $3 ORDER BY t.tag LIMIT `+args.add(limit), args...))
	}
	return collect(tx.QueryContext(ctx, `SELECT `+historyColumns+` FROM tag_history h
		WHERE h.producer = $1 AND h.name = $2 AND h.tag > $3 AND h.version <> '' AND h.position = (
			SELECT MAX(l.position) FROM tag_history l WHERE l.producer = h.producer AND l.name = h.name AND l.tag = h.tag AND l.position <= `+args.add(int64(at))+`)
		ORDER BY h.tag LIMIT `+args.add(limit), args...)) //nolint:gosec // a position
}

// ListHistory returns what a tag pointed to, the last first, before a position (0: from
// the last on).
func ListHistory(ctx context.Context, tx database.Tx, producer, name, tag string, before uint64, limit int) ([]Tag, error) {
	args := arguments{producer, name, []byte(tag)}
	where := ""
	if before > 0 {
		where = ` AND h.position < ` + args.add(int64(before)) //nolint:gosec // a position
	}
	return collect(tx.QueryContext(ctx, `SELECT `+historyColumns+` FROM tag_history h
		WHERE h.producer = $1 AND h.name = $2 AND h.tag = $3`+where+` ORDER BY h.position DESC LIMIT `+args.add(limit), args...))
}

func collect(rows *sql.Rows, err error) ([]Tag, error) {
	return database.Collect(rows, err, func(rows *sql.Rows) (Tag, error) { return scanTag(rows) })
}

// arguments of a statement.
type arguments []any

func (a *arguments) add(v any) string {
	*a = append(*a, v)
	return fmt.Sprintf("$%d", len(*a))
}

func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return view.ErrNotFound
	}
	return err
}
