package fold

import (
	"context"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

func (f Fold) applyRegistered(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.BackendRegistered) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM `+f.Of("abandoned")+` WHERE backend_id = $1`, p.BackendID); err != nil {
		return err
	}
	_, err := f.insert(ctx, tx, "backends", []string{"id", "name", "driver", "place", "registered"},
		[][]any{{p.BackendID, p.Name, p.Driver, p.Place, rec.Position}},
		`ON CONFLICT (id) DO UPDATE SET name = excluded.name, driver = excluded.driver, place = excluded.place, registered = excluded.registered`)
	return err
}

// applyAbandoned fails every location of the backend, also those that had failed
// otherwise. It writes no row of them: the head is locked, and there may be millions.
func (f Fold) applyAbandoned(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.BackendAbandoned) error {
	if _, err := f.insert(ctx, tx, "abandoned", []string{"backend_id", "position"}, [][]any{{p.BackendID, rec.Position}},
		`ON CONFLICT (backend_id) DO UPDATE SET position = excluded.position`); err != nil {
		return err
	}
	if f.Version < Counted {
		_, err := tx.ExecContext(ctx, `UPDATE `+f.Of("storage_locations")+` SET state = 'failed', reason = $1, detail = '', changed = $2
			WHERE backend_id = $3 AND reason <> $1`, ReasonAbandoned, rec.Position, p.BackendID)
		return err
	}
	if _, err := f.insert(ctx, tx, "abandonments", []string{"backend_id", "position"}, [][]any{{p.BackendID, rec.Position}}, ""); err != nil {
		return err
	}
	before, err := CountsOf(ctx, tx, f.Names, p.BackendID)
	if err != nil {
		return err
	}
	changes := make(Counts)
	for was, t := range before {
		changes.add(Standing{p.BackendID, StateFailed, ReasonAbandoned}, t)
		changes.add(was, Tally{-t.Locations, -t.Bytes, -t.Unchecked})
	}
	return changes.Write(ctx, tx, f.Names)
}

// applyAdded makes locations live.
func (f Fold) applyAdded(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LocationAdded) error {
	rows := make([][]any, len(p.SHA256))
	for i, sum := range p.SHA256 {
		rows[i] = liveRow(rec, p.BackendID, sum)
	}
	return f.insertLive(ctx, tx, rows, nil, false)
}

func liveRow(rec eventlog.Record, backend string, sum []byte) []any {
	return []any{backend, sum, StateLive, "", "", rec.Position, 0, 0}
}

var LocationColumns = []string{"backend_id", "sha256", "state", "reason", "detail", "changed", "checked", "checked_us"}

// insertLive inserts locations that are live, each at most once. One that had failed is
// live again: its bytes were stored anew. sizes are those of the blobs, if they are known;
// fresh says that none of the blobs can have a location yet.
func (f Fold) insertLive(ctx context.Context, tx database.Tx, rows [][]any, sizes map[digest.Digest]int64, fresh bool) error {
	if f.Version < Counted {
		_, err := f.insert(ctx, tx, "storage_locations", LocationColumns, rows,
			`ON CONFLICT (sha256, backend_id) DO UPDATE SET state = excluded.state, reason = '', detail = '', changed = excluded.changed
			 WHERE `+f.Of("storage_locations")+`.state <> 'live'`)
		return err
	}
	var (
		old     = make(map[location]oldLocation)
		again   = make(map[revival][][]byte)
		changes = make(Counts)
		added   = rows
	)
	if !fresh {
		sums := make([][]byte, len(rows))
		for i, row := range rows {
			sums[i] = row[1].([]byte)
		}
		var err error
		if old, sizes, err = findOld(ctx, tx, f.Names, "", sums); err != nil {
			return err
		}
		added = nil
	}
	for _, row := range rows {
		id, sum := row[0].(string), row[1].([]byte)
		d, err := digest.FromBytes(digest.SHA256, sum)
		if err != nil {
			return err
		}
		alive := Standing{id, StateLive, ""}
		at := location{id, d}
		was, exists := old[at]
		switch {
		case !exists:
			changes.add(alive, Tally{Locations: 1, Bytes: sizes[d], Unchecked: 1})
			if !fresh {
				added = append(added, row)
			}
		case was.Standing != alive:
			changes.move(was, alive)
			key := revival{id, row[5].(uint64)}
			again[key] = append(again[key], sum)
		}
		old[at] = oldLocation{Standing: alive}
	}
	// A row that is there although its blob was not is damage, and for Check to find.
	if _, err := f.insert(ctx, tx, "storage_locations", LocationColumns, added, `ON CONFLICT (sha256, backend_id) DO NOTHING`); err != nil {
		return err
	}
	for by, sums := range again {
		if err := f.update(ctx, tx, `state = 'live', reason = '', detail = '', changed = $1`, []any{by.position}, by.backend, sums); err != nil {
			return err
		}
	}
	return changes.Write(ctx, tx, f.Names)
}

// revival is an event that makes failed locations of a backend live again.
type revival struct {
	backend  string
	position uint64
}

// applyVerified notes what was found right, and revives what had failed.
func (f Fold) applyVerified(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LocationVerified) error {
	if len(p.SHA256) == 0 {
		return nil // the record of a run: no state has changed
	}
	last, err := f.recount(ctx, tx, p.BackendID, p.SHA256, Standing{p.BackendID, StateLive, ""})
	if err != nil {
		return err
	}
	return f.update(ctx, tx, `changed = CASE WHEN state = 'live' AND changed > $3 THEN changed ELSE $1 END,
		state = 'live', reason = '', detail = '', checked = $1, checked_us = $2`,
		[]any{rec.Position, rec.Time.UnixMicro(), last}, p.BackendID, p.SHA256)
}

func (f Fold) applyFailed(ctx context.Context, tx database.Tx, rec eventlog.Record, p event.LocationFailed) error {
	last, err := f.recount(ctx, tx, p.BackendID, [][]byte{p.SHA256}, Standing{p.BackendID, StateFailed, p.Reason})
	if err != nil {
		return err
	}
	return f.update(ctx, tx, `changed = CASE WHEN state = 'failed' AND reason = $4 AND changed > $3 THEN changed ELSE $1 END,
		state = 'failed', reason = $4, detail = $5, checked = $1, checked_us = $2`,
		[]any{rec.Position, rec.Time.UnixMicro(), last, p.Reason, p.Detail}, p.BackendID, [][]byte{p.SHA256})
}

// recount counts locations of a backend, of which something is found now, as what they
// become. It returns the position at which the backend was given up last, 0 if never.
func (f Fold) recount(ctx context.Context, tx database.Tx, backend string, sums [][]byte, to Standing) (last uint64, err error) {
	if f.Version < Counted {
		return 0, nil
	}
	old, _, err := findOld(ctx, tx, f.Names, backend, sums)
	if err != nil {
		return 0, err
	}
	changes := make(Counts)
	for _, was := range old {
		changes.move(was, to)
		if was.checked == 0 {
			changes.add(to, Tally{Unchecked: -1})
		}
	}
	if err := changes.Write(ctx, tx, f.Names); err != nil {
		return 0, err
	}
	all, err := AllAbandonments(ctx, tx, f.Names)
	return all.Last(backend), err
}

// update changes locations of a backend. The parameters of set come first.
func (f Fold) update(ctx context.Context, tx database.Tx, set string, args []any, backend string, sums [][]byte) error {
	args = append(slices.Clone(args), backend)
	n := len(args)
	for chunk := range slices.Chunk(sums, 500) {
		args = args[:n]
		for _, sum := range chunk {
			args = append(args, sum)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE `+f.Of("storage_locations")+` SET `+set+`
			WHERE backend_id = `+database.Parameters(n, 1)+` AND sha256 IN (`+database.Parameters(n+1, len(chunk))+`)`, args...); err != nil {
			return err
		}
	}
	return nil
}
