package fold

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// The table location_counts says how many locations of a backend are in each state, so
// that nobody counts a million rows to know. Whatever changes the state of a location,
// or notes the first finding of one, changes the counts in the same transaction.

// Standing is what a location is.
type Standing struct{ Backend, State, Reason string }

// Tally is a row of location_counts, or what is added to it.
type Tally struct{ Locations, Bytes, Unchecked int64 }

// Counts are changes of location_counts.
type Counts map[Standing]Tally

func (c Counts) add(s Standing, t Tally) {
	old := c[s]
	c[s] = Tally{old.Locations + t.Locations, old.Bytes + t.Bytes, old.Unchecked + t.Unchecked}
}

// move is for one location: what it was no longer counts.
func (c Counts) move(from oldLocation, to Standing) {
	one := Tally{Locations: 1, Bytes: from.size}
	if from.checked == 0 {
		one.Unchecked = 1
	}
	c.add(to, one)
	c.add(from.Standing, Tally{-one.Locations, -one.Bytes, -one.Unchecked})
}

// Write adds the changes to the table.
func (c Counts) Write(ctx context.Context, tx database.Tx, n Names) error {
	order := func(a, b Standing) int {
		return strings.Compare(a.Backend+"\x00"+a.State+a.Reason, b.Backend+"\x00"+b.State+b.Reason)
	}
	var rows [][]any
	for _, s := range slices.SortedFunc(maps.Keys(c), order) {
		if t := c[s]; t != (Tally{}) {
			rows = append(rows, []any{s.Backend, s.State, s.Reason, t.Locations, t.Bytes, t.Unchecked})
		}
	}
	table := n.Of("location_counts")
	_, err := database.InsertRows(ctx, tx, table, []string{"backend_id", "state", "reason", "locations", "bytes", "unchecked"}, rows,
		`ON CONFLICT (backend_id, state, reason) DO UPDATE SET locations = `+table+`.locations + excluded.locations,
		 bytes = `+table+`.bytes + excluded.bytes, unchecked = `+table+`.unchecked + excluded.unchecked`)
	return err
}

// oldLocation is a location as the tables have it.
type oldLocation struct {
	Standing
	changed, checked uint64
	size             int64 // of the blob
}

// findOld returns the locations of blobs: in one backend, or if that is "" in all. sizes
// has each blob that is known, also one that has no location.
func findOld(ctx context.Context, tx database.Tx, n Names, backend string, sums [][]byte) (old map[location]oldLocation, sizes map[digest.Digest]int64, err error) {
	gaveUp, err := AllAbandonments(ctx, tx, n)
	if err != nil {
		return nil, nil, err
	}
	old, sizes = make(map[location]oldLocation), make(map[digest.Digest]int64)
	for chunk := range slices.Chunk(sums, 500) {
		var args []any
		for _, sum := range chunk {
			args = append(args, sum)
		}
		and := ""
		if backend != "" {
			args = append(args, backend)
			and = " AND l.backend_id = " + database.Parameters(len(args), 1)
		}
		rows, err := tx.QueryContext(ctx, `SELECT b.sha256, b.size, l.backend_id, l.state, l.reason, l.changed, l.checked
			FROM `+n.Of("blobs")+` b LEFT JOIN `+n.Of("storage_locations")+` l ON l.sha256 = b.sha256`+and+`
			WHERE b.sha256 IN (`+database.Parameters(1, len(chunk))+`)`, args...)
		if _, err := database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
			var (
				sum                []byte
				f                  oldLocation
				id, state, reason  sql.NullString
				changed, checkedAt sql.NullInt64
			)
			if err := rows.Scan(&sum, &f.size, &id, &state, &reason, &changed, &checkedAt); err != nil {
				return struct{}{}, err
			}
			d, err := digest.FromBytes(digest.SHA256, sum)
			if err != nil {
				return struct{}{}, err
			}
			sizes[d] = f.size
			if id.Valid {
				f.Standing = Standing{id.String, state.String, reason.String}
				f.changed, f.checked = uint64(changed.Int64), uint64(checkedAt.Int64)
				if f.changed < gaveUp.Last(id.String) {
					f.Standing = Standing{id.String, StateFailed, ReasonAbandoned}
				}
				old[location{id.String, d}] = f
			}
			return struct{}{}, nil
		}); err != nil {
			return nil, nil, err
		}
	}
	return old, sizes, nil
}

// LastAbandonment returns the position of the event by which a backend was given up last, 0 if it never was.
func LastAbandonment(ctx context.Context, tx database.Tx, n Names, backend string) (position uint64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(position), 0) FROM `+n.Of("abandonments")+` WHERE backend_id = $1`, backend).Scan(&position)
	return position, err
}

// CountLive returns how many of the blobs, at most 500, are live in a backend that was
// given up last at that position. What changed since, changed as it says.
func CountLive(ctx context.Context, tx database.Tx, n Names, backend string, gaveUp uint64, sums [][]byte) (live int, err error) {
	args := make([]any, 0, 2+len(sums))
	args = append(args, backend, int64(gaveUp)) //nolint:gosec // a position
	for _, sum := range sums {
		args = append(args, sum)
	}
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+n.Of("storage_locations")+` l WHERE l.backend_id = $1 AND l.changed >= $2
		AND l.sha256 IN (`+database.Parameters(3, len(sums))+`) AND l.state <> '`+StateFailed+`'`, args...).Scan(&live)
	return live, err
}

// Abandonments are the positions of the events by which each backend was given up, in
// order: as many as times that somebody did so.
type Abandonments map[string][]uint64

func AllAbandonments(ctx context.Context, tx database.Tx, n Names) (Abandonments, error) {
	all := make(Abandonments)
	rows, err := tx.QueryContext(ctx, `SELECT backend_id, position FROM `+n.Of("abandonments")+` ORDER BY position`)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
		var (
			id       string
			position uint64
		)
		err := rows.Scan(&id, &position)
		all[id] = append(all[id], position)
		return struct{}{}, err
	})
	return all, err
}

// Last returns when the backend was given up last, 0 if never.
func (a Abandonments) Last(backend string) uint64 {
	if positions := a[backend]; len(positions) > 0 {
		return positions[len(positions)-1]
	}
	return 0
}

// Settle makes a row of storage_locations, as Check reads it, what it is.
func (a Abandonments) Settle(row []any) {
	if len(row) != len(LocationColumns) {
		return
	}
	id, isText := row[0].(string)
	changed, isNumber := row[5].(int64)
	if !isText || !isNumber {
		return
	}
	for _, position := range a[id] {
		if changed < int64(position) {
			row[2], row[3], row[4], row[5] = StateFailed, ReasonAbandoned, "", int64(position)
			return
		}
	}
}

// CountsOf returns the rows of a backend.
func CountsOf(ctx context.Context, tx database.Tx, n Names, backend string) (Counts, error) {
	rows, err := tx.QueryContext(ctx, `SELECT state, reason, locations, bytes, unchecked FROM `+n.Of("location_counts")+` WHERE backend_id = $1`, backend)
	c := make(Counts)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
		s := Standing{Backend: backend}
		var t Tally
		err := rows.Scan(&s.State, &s.Reason, &t.Locations, &t.Bytes, &t.Unchecked)
		c.add(s, t)
		return struct{}{}, err
	})
	return c, err
}

// CountFirst counts the locations of which something is found for the first time: those
// of the table, named n, for which the condition is true.
func CountFirst(ctx context.Context, tx database.Tx, table Names, from, where string, args ...any) (Counts, error) {
	rows, err := tx.QueryContext(ctx, `SELECT n.backend_id, CASE WHEN `+GivenUp(table, "n")+` IS NULL THEN n.state ELSE '`+StateFailed+`' END AS state,
		CASE WHEN `+GivenUp(table, "n")+` IS NULL THEN n.reason ELSE '`+ReasonAbandoned+`' END AS reason, COUNT(*)
		FROM `+from+` WHERE n.checked = 0 AND `+where+` GROUP BY 1, 2, 3`, args...)
	c := make(Counts)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (struct{}, error) {
		var (
			s Standing
			n int64
		)
		err := rows.Scan(&s.Backend, &s.State, &s.Reason, &n)
		c.add(s, Tally{Unchecked: -n})
		return struct{}{}, err
	})
	return c, err
}

// GivenUp is the SQL of the position of the event by which the backend of a location was
// given up after the location changed, NULL if it was not: the location has failed by it.
func GivenUp(n Names, alias string) string {
	return `(SELECT MIN(a.position) FROM ` + n.Of("abandonments") + ` a WHERE a.backend_id = ` + alias + `.backend_id AND a.position > ` + alias + `.changed)`
}

// Live is the SQL condition that a row of storage_locations is live. It is one of two
// states, but not said so: SQLite would take the index that begins with backend and state,
// and read all of them, where it can look up digests.
func Live(alias string) string {
	return alias + `.state <> '` + StateFailed + `' AND NOT EXISTS (SELECT 1 FROM abandonments a
		WHERE a.backend_id = ` + alias + `.backend_id AND a.position > ` + alias + `.changed)`
}

// Failed is the SQL condition that a row of storage_locations was found corrupt or missing.
func Failed(alias string) string {
	return alias + `.state = '` + StateFailed + `' AND ` + alias + `.reason <> '` + ReasonAbandoned + `' AND ` + GivenUp(Names{}, alias) + ` IS NULL`
}
