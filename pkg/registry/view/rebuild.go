package view

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// errBehind: more was appended than is replayed while appends wait.
var errBehind = errors.New("the log has grown too much in the meantime")

// Progress reports how a rebuild or a check proceeds. Each function may be nil.
type Progress struct {
	// Waiting: another rebuild or check is under way, and this one waits for it.
	Waiting func(holder string)
	// Replayed: the log was replayed to a position; its head was there.
	Replayed func(position, head uint64)
	// Busy: the tables are complete and wait for long reads, such as a backup's.
	Busy func(err error)
}

// Rebuild makes new tables from the log and has them replace the old ones,
// whatever is in those. It runs beside everything else, in this
// process and others: appends wait for the last few records and for the
// exchange, reads for the exchange alone, and each sees either the old tables or
// the new ones. One that is killed leaves tables that the next one drops.
func (v *Views) Rebuild(ctx context.Context, p Progress) (Report, error) {
	return v.rebuild(ctx, p, func(state) bool { return true })
}

// Upgrade is Rebuild, if the tables are older than this program wants them.
// Several processes may call it: the first rebuilds, and the others wait for it.
func (v *Views) Upgrade(ctx context.Context, p Progress) (Report, error) {
	older := func(s state) bool { return s.version < v.layout.Version }
	var s state
	err := v.db.Read(ctx, func(tx database.Tx) (err error) {
		s, err = readState(ctx, tx)
		return err
	})
	if err != nil || !older(s) {
		return Report{}, err
	}
	return v.rebuild(ctx, p, older)
}

// rebuild asks once more whether it is wanted when it has the claim.
func (v *Views) rebuild(ctx context.Context, p Progress, wanted func(state) bool) (report Report, err error) {
	ctx = database.Patient(ctx)
	c, s, err := v.begin(ctx, p)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, c.release(ctx)) }()
	if !wanted(s) {
		return report, nil
	}
	r, err := newReplay(ctx, c, v.layout, p.Replayed)
	if err != nil {
		return report, err
	}
	if err := r.catchUp(ctx, 0); err != nil {
		return report, err
	}
	if err := r.makeIndexes(ctx); err != nil {
		return report, err
	}
	if err := r.carryAll(ctx); err != nil {
		return report, err
	}
	for _, t := range fold.Tables { // before they serve: a planner that knows nothing of a table reads all of it
		if err := v.db.Analyze(ctx, r.into.Of(t.Name)); err != nil {
			return report, err
		}
	}
	for {
		if err := r.catchUp(ctx, 0); err != nil {
			return report, err
		}
		head, err := r.exchange(ctx)
		switch {
		case err == nil:
			return v.count(ctx, head)
		case errors.Is(err, database.ErrBusy):
			if p.Busy != nil {
				p.Busy(err)
			}
			if err := pause(ctx, swapPause); err != nil {
				return report, err
			}
		case errors.Is(err, errBehind):
			r.rest *= 2 // appends wait longer, but not forever for a rebuild that never ends
		default:
			return report, err
		}
	}
}

// begin takes the claim, once the tables are there and of a version that this program knows.
func (v *Views) begin(ctx context.Context, p Progress) (*claim, state, error) {
	var s state
	err := v.db.Read(ctx, func(tx database.Tx) error {
		there, err := v.db.HasTable(ctx, tx, "tag_history") // the last step of schema
		if err == nil && !there {
			err = fmt.Errorf("%w: this database was not yet opened by a manager of this version: start one first", ErrVersion)
		}
		return err
	})
	if err != nil {
		return nil, s, err
	}
	c, err := acquire(ctx, v.db, p.Waiting)
	if err != nil {
		return nil, s, err
	}
	err = v.db.Read(ctx, func(tx database.Tx) (err error) {
		if s, err = readState(ctx, tx); err == nil && s.version > v.layout.Version {
			err = v.tooNew(s)
		}
		return err
	})
	if err != nil {
		return nil, s, errors.Join(err, c.release(ctx))
	}
	return c, s, nil
}

// exchange replays what is left under the head's lock and has the new tables
// serve: appends begin again with these. ErrBusy and errBehind: try again.
//
// The order of locks is the same everywhere: the claim, the head, the gate of
// the reads, the tables.
func (r *replay) exchange(ctx context.Context) (eventlog.Head, error) {
	var (
		head  eventlog.Head
		chain = r.chain
	)
	err := r.write(ctx, func(tx database.Tx) (err error) {
		r.chain = chain // it may be run again
		if head, err = eventlog.LockHead(ctx, tx); err != nil {
			return err
		}
		for left := r.rest; left > 0; left -= leastRecords {
			records, err := next(ctx, tx, r.chain.Position(), head, 0, eventlog.Page{Records: leastRecords, Bytes: leastRecords * recordBytes})
			if err != nil {
				return err
			}
			for _, record := range records {
				if err := r.chain.Next(record); err != nil {
					return err
				}
			}
			if err := r.fold(ctx, tx, records); err != nil {
				return err
			}
		}
		if r.chain.Position() < head.Position {
			return errBehind
		}
		if err := r.chain.End(ctx, tx, head); err != nil {
			return err
		}
		if err := r.carryRest(ctx, tx, head.Position); err != nil {
			return err
		}
		if err := r.db.HoldReads(ctx, tx); err != nil {
			return err
		}
		return r.rename(ctx, tx)
	})
	if err == nil {
		return head, nil
	}
	if errors.Is(err, database.ErrUnknownOutcome) {
		if s, again := r.served(ctx); again == nil && s.generation == r.generation {
			return head, nil
		}
	}
	r.chain = chain
	return head, err
}

// rename has the new tables serve. Those that served, whether or not they are all there,
// take the names of the new ones: to drop them takes longer than appends should wait.
func (r *replay) rename(ctx context.Context, tx database.Tx) error {
	between := fold.Names{Suffix: "_old"}
	for _, t := range fold.Tables {
		if err := r.db.CopyGrants(ctx, tx, t.Name, r.into.Of(t.Name)); err != nil {
			return err
		}
		there, err := r.db.HasTable(ctx, tx, t.Name)
		if err != nil {
			return err
		}
		renames := [][2]string{{r.into.Of(t.Name), t.Name}}
		if there {
			renames = [][2]string{{t.Name, between.Of(t.Name)}, renames[0], {between.Of(t.Name), r.into.Of(t.Name)}}
		}
		for _, names := range renames {
			if _, err := tx.ExecContext(ctx, "ALTER TABLE "+names[0]+" RENAME TO "+names[1]); err != nil {
				return err
			}
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE view_state SET version = $1, generation = $2 WHERE id = 1", r.into.Layout.Version, r.generation); err != nil {
		return err
	}
	return eventlog.RaiseFence(ctx, tx, r.into.Level)
}

// served waits a moment: the database may be coming up again.
func (r *replay) served(ctx context.Context) (s state, err error) {
	if err := pause(ctx, time.Second); err != nil {
		return s, err
	}
	err = r.db.Read(ctx, func(tx database.Tx) (err error) {
		s, err = readState(ctx, tx)
		return err
	})
	return s, err
}

// count says how many rows the new tables have, at or a little after the head.
func (v *Views) count(ctx context.Context, head eventlog.Head) (Report, error) {
	report := Report{LogID: head.LogID, Events: head.Position, Rows: make(map[string]int)}
	err := v.db.Read(ctx, func(tx database.Tx) error {
		for _, t := range fold.Tables {
			var n int
			if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+t.Name).Scan(&n); err != nil {
				return err
			}
			report.Rows[t.Name] = n
		}
		return nil
	})
	return report, err
}
