package view

import (
	"context"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// replay folds the log, from its first record on, into tables of its own. It
// checks the chain of the records as it goes.
type replay struct {
	*claim
	into    fold.Fold
	chain   eventlog.Chain
	pace    pace
	carried carried
	// indexes are statements that make what the tables still lack; replayed is how many
	// bytes of the log are in them.
	indexes  []string
	replayed int64
	// told is called with how far it has come, after each page; may be nil.
	told func(position, head uint64)
	// rest is how many pages of the log may be replayed under the head's lock.
	rest int
}

// newReplay makes the tables, without the indexes that only readers need.
func newReplay(ctx context.Context, c *claim, l fold.Layout, told func(position, head uint64)) (*replay, error) {
	r := &replay{claim: c, into: fold.Fold{Names: fresh(c.generation), Layout: l, Version: l.Version}, pace: newPace(), told: told, rest: restPages}
	var text string
	text, r.indexes = split(l.Create(r.into.Names, r.db.Engine()))
	err := c.write(ctx, func(tx database.Tx) error {
		_, err := tx.ExecContext(ctx, text)
		return err
	})
	return r, err
}

// catchUp replays to the position, or if that is 0, to where the log ended at its
// first look: who pushes without a pause is never caught up with for good.
func (r *replay) catchUp(ctx context.Context, to uint64) error {
	for {
		var (
			head    eventlog.Head
			records []eventlog.Record
		)
		err := r.db.Read(ctx, func(tx database.Tx) (err error) {
			if head, err = eventlog.HeadTx(ctx, tx); err != nil {
				return err
			}
			records, err = r.next(ctx, tx, head, to, r.pace.page())
			return err
		})
		if err != nil || len(records) == 0 {
			return err
		}
		if to == 0 {
			to = head.Position // a log that grows as fast as it is read has no other end
		}
		r.pace.sawHead(head.Position)
		chain := r.chain
		for _, record := range records {
			if err := chain.Next(record); err != nil {
				return err
			}
		}
		for _, record := range records {
			r.replayed += int64(len(record.Payload)) // which the fold takes
		}
		if err := r.step(ctx, func(tx database.Tx) error { return r.fold(ctx, tx, records) }); err != nil {
			return err
		}
		r.chain = chain
		if r.told != nil {
			r.told(chain.Position(), head.Position)
		}
		if chain.Position() >= to {
			return nil
		}
		if err := pause(ctx, r.pace.pause()); err != nil {
			return err
		}
		if r.indexesDue() {
			if err := r.makeIndexes(ctx); err != nil {
				return err
			}
		}
	}
}

// step is a write that looks whether others write, too.
func (r *replay) step(ctx context.Context, fn func(tx database.Tx) error) error {
	var began time.Time
	err := r.write(ctx, func(tx database.Tx) error {
		began = time.Now() // it has the lock
		commits, err := r.db.Commits(ctx, tx)
		if err != nil {
			return err
		}
		r.pace.saw(commits)
		return fn(tx)
	})
	r.pace.took(time.Since(began))
	return err
}

// next reads the page that follows; none at the head, or at the position to (0: there is none).
func (r *replay) next(ctx context.Context, tx database.Tx, head eventlog.Head, to uint64, page eventlog.Page) ([]eventlog.Record, error) {
	end := head.Position
	if to != 0 {
		end = min(end, to)
	}
	if r.chain.Position() >= end {
		return nil, nil
	}
	page.Records = int(min(uint64(page.Records), end-r.chain.Position()))
	records, err := eventlog.ReadPageTx(ctx, tx, r.chain.Position(), page)
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%w: it ends at %d, the head is %d", eventlog.ErrBroken, r.chain.Position(), head.Position)
	}
	return records, err
}

func (r *replay) fold(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
	return r.into.Apply(ctx, tx, records)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
