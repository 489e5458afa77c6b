// Package view is the fold of the event log into tables. Nothing else writes
// to these tables: drop them, replay the log with the same fold that live
// writes use, and every row is the same again (see Check and Rebuild).
//
// # Versions of the tables
//
// The tables have a version. A program that wants others than those that serve
// makes them by a rebuild, in the background and beside everything else (see
// Upgrade). To change the tables, and so to add a column:
//
//  1. Change create and Tables of package fold to what they shall be, add one to Current.Version,
//     and name each new column in Current.Since with that version. A column never
//     changes its type: prepared statements of running programs have it. Set
//     Current.Level to event.Level as it is then: that fences older replicas.
//  2. Let the fold write the column. Inserts leave it out by themselves as long as
//     the old tables serve; an UPDATE asks Fold.Has.
//  3. A query that needs it asks Version first, and answers as the version before
//     did while that is lower. Nothing else may be assumed of old tables.
//
// The steps in fold.Schema are how version 1 came about. They end: what comes later
// comes by a rebuild. Only what no record of an existing log fills gets a step: what
// is no fold of the log, and the table of a new kind of event.
package view

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// ErrVersion: the tables were made by a program that is newer, or older, than this one.
var ErrVersion = errors.New("the views are of another version of the program")

// Views are the tables of one database. All methods may be called concurrently.
type Views struct {
	db     *database.DB
	layout fold.Layout
	// version of the tables that serve, as far as it is known here: it only rises.
	version atomic.Int64
}

// New makes no tables and reads nothing.
func New(db *database.DB) *Views { return &Views{db: db, layout: fold.Current} }

// Open creates the tables that are missing. Tables of an earlier version stay
// and serve (see Upgrade), but for those of an empty log. ErrVersion if they are newer.
// The log's own tables must be there.
func (v *Views) Open(ctx context.Context) error {
	if err := v.db.Migrate(ctx, "view", fold.Schema); err != nil {
		return err
	}
	return v.db.Write(ctx, func(tx database.Tx) error {
		state, err := readState(ctx, tx)
		switch {
		case err != nil:
			return err
		case state.version > v.layout.Version:
			return v.tooNew(state)
		case state.version == v.layout.Version:
			return nil
		}
		head, err := eventlog.LockHead(ctx, tx)
		if err != nil || head.Position > 0 {
			return err
		}
		return v.replaceEmpty(ctx, tx)
	})
}

// replaceEmpty: nothing is in them, and nothing can be read or appended before it ends.
func (v *Views) replaceEmpty(ctx context.Context, tx database.Tx) error {
	if err := v.db.HoldReads(ctx, tx); err != nil {
		return err
	}
	for _, t := range fold.Tables {
		if _, err := tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+t.Name); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, v.layout.Create(fold.Names{}, v.db.Engine())); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE view_state SET version = $1 WHERE id = 1", v.layout.Version); err != nil {
		return err
	}
	return eventlog.RaiseFence(ctx, tx, v.layout.Level)
}

func (v *Views) tooNew(state state) error {
	return fmt.Errorf("%w: they are of version %d, this program knows %d: use the newer one", ErrVersion, state.version, v.layout.Version)
}

// Apply folds a record that is being appended into the tables that serve. It is
// an eventlog.Apply.
func (v *Views) Apply(ctx context.Context, tx database.Tx, rec eventlog.Record) error {
	return v.Fold(ctx, tx, []eventlog.Record{rec})
}

// Fold is Apply for records that follow each other. It is an eventlog.Fold.
func (v *Views) Fold(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
	version := v.version.Load()
	if version < v.layout.Version {
		// An exchange of the tables holds the head's lock, as this append does.
		state, err := readState(ctx, tx)
		if err != nil {
			return err
		}
		version = state.version
		v.version.Store(version)
	}
	return fold.Fold{Names: fold.Names{}, Layout: v.layout, Version: version}.Apply(ctx, tx, records)
}

// Version of the tables that serve, in the snapshot of tx.
func Version(ctx context.Context, tx database.Tx) (int64, error) {
	state, err := readState(ctx, tx)
	return state.version, err
}

// Generation changes with every exchange of the tables: what was derived from
// rows may be kept as long as it, and the log's head, are the same.
func Generation(ctx context.Context, tx database.Tx) (int64, error) {
	state, err := readState(ctx, tx)
	return state.generation, err
}

// state is the row of view_state, without the claim.
type state struct{ version, generation int64 }

func readState(ctx context.Context, tx database.Tx) (state, error) {
	var s state
	err := tx.QueryRowContext(ctx, "SELECT version, generation FROM view_state WHERE id = 1").Scan(&s.version, &s.generation)
	if err != nil {
		return s, fmt.Errorf("reading the views' version: %w", err)
	}
	return s, nil
}
