package custody

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/headmark"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// MarkHead implements registrar.Registrar. The mark is read before the log: a
// mark that another replica moves meanwhile is never ahead of what is compared.
func (k *Keeper) MarkHead(ctx context.Context, owner registrar.Owner, b storage.Marked, every time.Duration) error {
	where := owner.Name
	if owner.Place != "" {
		where += " (" + owner.Place + ")"
	}
	data, err := b.ReadHeadMark(ctx)
	none := errors.Is(err, storage.ErrNotFound)
	if err != nil && !none {
		return fmt.Errorf("reading the head mark of %s: %w", where, err)
	}
	var mark headmark.Mark
	if !none {
		if mark, err = headmark.Parse(data); err != nil {
			return &registrar.MarkerError{Kind: registrar.ErrOlderLog, Message: fmt.Sprintf("%s: %s: %v", where, storage.HeadMarkKey, err)}
		}
	}
	found, err := k.compareMark(ctx, owner, mark, none)
	if err != nil {
		return err
	}
	if found.older != "" {
		return &registrar.MarkerError{Kind: registrar.ErrOlderLog, Message: where + ": " + found.older}
	}
	if _, kept := k.kept.Load(owner.BackendID); kept && every >= 0 {
		every = max(every, registrar.HeadMarkIntervalKept)
	}
	age := k.core.Now().Sub(mark.Time)
	if every < 0 || found.head.Position == 0 || !none && !found.accepted && (found.head.Same(mark) || age >= 0 && age < every) {
		return nil
	}
	if data, err = found.head.Encode(); err != nil {
		return err
	}
	kept, err := b.WriteHeadMark(ctx, data)
	if err != nil {
		return fmt.Errorf("writing the head mark of %s: %w", where, err)
	}
	if kept {
		k.kept.Store(owner.BackendID, struct{}{})
	}
	return nil
}

// compared is what a head mark is beside the log.
type compared struct {
	head  headmark.Mark
	older string // why the log is older, "" if it is not
	// accepted: the mark is one that the log does not have and need not.
	accepted bool
}

// compareMark also keeps the row that remembers the finding.
func (k *Keeper) compareMark(ctx context.Context, owner registrar.Owner, mark headmark.Mark, none bool) (found compared, err error) {
	row, noted := headmark.Row{}, false
	if err := k.core.Read(ctx, func(tx database.Tx) (err error) {
		if found.head, err = headmark.Of(ctx, tx, k.core.Now()); err != nil {
			return err
		}
		if row, noted, err = headmark.Find(ctx, tx, owner.BackendID); err != nil || none {
			return err
		}
		found.older, found.accepted, err = headmark.Older(ctx, tx, owner.BackendID, mark)
		return err
	}); err != nil {
		return compared{}, err
	}
	switch next := (headmark.Row{BackendID: owner.BackendID, BackendName: owner.Name, Mark: mark, Message: found.older}); {
	case found.older != "" && (!noted || row.BackendName != next.BackendName || !row.Mark.Same(headmark.Mark{Position: mark.Position, Hash: mark.Hash}) || row.Message != next.Message):
		k.core.Logger.ErrorContext(ctx, "the event log is older than a backend: nothing is removed there", "backend", owner.Name, "what", found.older)
		err = k.core.Write(ctx, func(tx database.Tx) error { return headmark.Note(ctx, tx, next) })
	case found.older == "" && noted:
		err = k.core.Write(ctx, func(tx database.Tx) error { return headmark.Forget(ctx, tx, owner.BackendID) })
	}
	return found, err
}

// mayRemove fails unless the place is the backend's, no head mark is ahead of the
// log, as far as is known, and no removal is held back. It moves the mark unless this is a dry run.
func (k *Keeper) mayRemove(ctx context.Context, b placement.Backend, store storage.Marked, dryRun bool) error {
	if err := k.core.CheckMarker(ctx, b); err != nil {
		return err
	}
	every := time.Duration(0)
	if dryRun {
		every = registrar.CompareOnly
	}
	owner := registrar.Owner{LogID: k.core.LogID(), BackendID: b.ID, Name: b.Name, Place: b.Place}
	// The mark is compared before it is moved, and moving it may wait: what makes room
	// must not need any.
	if err := k.MarkHead(ctx, owner, store, every); err != nil && !errors.Is(err, storage.ErrFull) {
		return err
	}
	var (
		until time.Time
		older []headmark.Row
	)
	if err := k.core.Read(ctx, func(tx database.Tx) (err error) {
		if older, err = headmark.List(ctx, tx); err != nil {
			return err
		}
		until, err = view.HeldUntil(ctx, tx)
		return err
	}); err != nil {
		return err
	}
	if len(older) > 0 { // the mark of this one may be a day old
		return &registrar.MarkerError{Kind: registrar.ErrOlderLog, Message: fmt.Sprintf("backend %s: %s; so nothing is removed from any backend", older[0].BackendName, older[0].Message)}
	}
	if !dryRun && k.core.Now().Before(until) {
		return &registry.RemovalsHeldError{Until: until}
	}
	return nil
}

// removalHold is how long after v1.log.recovered nothing is removed: time to
// find out what the older log does not know, and to push it again.
const removalHold = 14 * 24 * time.Hour

// AcceptOlderLog logs that an administrator accepts the head marks which were
// found and which the log does not have, and returns the names of the backends.
// Their marks are moved with the next probe. registry.ErrNotFound if
// there is none.
func (k *Keeper) AcceptOlderLog(ctx context.Context, reason string) (backends []string, err error) {
	err = k.core.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		backends = nil
		rows, err := headmark.List(ctx, tx)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return nil, fmt.Errorf("a backend whose head mark is ahead of the log: %w", registry.ErrNotFound)
		}
		recovered := event.LogRecovered{LogID: k.core.LogID(), Reason: reason, HoldSeconds: int64(removalHold.Seconds())}
		for _, row := range rows {
			backends = append(backends, row.BackendName)
			recovered.Marks = append(recovered.Marks, event.AcceptedMark{BackendID: row.BackendID, Position: row.Mark.Position, Hash: row.Mark.Hash[:]})
			if err := headmark.Forget(ctx, tx, row.BackendID); err != nil {
				return nil, err
			}
		}
		logged, err := event.New(operator, recovered)
		return []eventlog.Event{logged}, err
	})
	return backends, err
}
