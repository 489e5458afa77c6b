package view

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// ErrVersion: the tables were made by a program that is newer, or older, than this one.
var ErrVersion = errors.New("the views are of another version of the program")

// Views are the tables of one database. All methods may be called concurrently.
type Views struct {
	db     *database.DB
	layout layout
	// version of the tables that serve, as far as it is known here: it only rises.
	version atomic.Int64
}

// New makes no tables and reads nothing.
func New(db *database.DB) *Views { return &Views{db: db, layout: current} }

// Open creates the tables that are missing. Tables of an earlier version stay
// and serve (see Upgrade), but for those of an empty log. ErrVersion if they are newer.
// The log's own tables must be there.
func (v *Views) Open(ctx context.Context) error {
	if err := v.db.Migrate(ctx, "view", schema); err != nil {
		return err
	}
	return v.db.Write(ctx, func(tx database.Tx) error {
		state, err := readState(ctx, tx)
		switch {
		case err != nil:
			return err
		case state.version > v.layout.version:
			return v.tooNew(state)
		case state.version == v.layout.version:
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
	for _, t := range tables {
		if _, err := tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+t.name); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, v.layout.create(names{})); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE view_state SET version = $1 WHERE id = 1", v.layout.version)
	return err
}

func (v *Views) tooNew(state state) error {
	return fmt.Errorf("%w: they are of version %d, this program knows %d: use the newer one", ErrVersion, state.version, v.layout.version)
}

// Apply folds a record that is being appended into the tables that serve. It is
// an eventlog.Apply.
func (v *Views) Apply(ctx context.Context, tx database.Tx, rec eventlog.Record) error {
	return v.Fold(ctx, tx, []eventlog.Record{rec})
}

// Fold is Apply for records that follow each other. It is an eventlog.Fold.
func (v *Views) Fold(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
	version := v.version.Load()
	if version < v.layout.version {
		// An exchange of the tables holds the head's lock, as this append does.
		state, err := readState(ctx, tx)
		if err != nil {
			return err
		}
		version = state.version
		v.version.Store(version)
	}
	return fold{names{}, v.layout, version}.apply(ctx, tx, records)
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
