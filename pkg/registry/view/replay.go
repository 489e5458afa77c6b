package view

import (
	"context"
	"fmt"
	"strings"
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
	// rest is how many records of the log may be replayed under the head's lock.
	rest int
}

// newReplay makes the tables, without the indexes that only readers need.
func newReplay(ctx context.Context, c *claim, l fold.Layout, told func(position, head uint64)) (*replay, error) {
	r := &replay{claim: c, into: fold.Fold{Names: fresh(c.generation), Layout: l, Version: l.Version, Forget: true}, pace: newPace(), told: told, rest: restRecords}
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
	ctx, cancel := context.WithCancel(ctx)
	ahead := r.readAhead(ctx, r.chain, to)
	defer func() {
		cancel()
		ahead() // its read has ended when this returns
	}()
	for {
		p := ahead()
		if p.err != nil || len(p.records) == 0 {
			return p.err
		}
		if to == 0 {
			to = p.head.Position // a log that grows as fast as it is read has no other end
		}
		r.pace.sawHead(p.head.Position)
		large := p.bytes > mostRecords*recordBytes // and so is what a fold makes of it: not two at a time
		if !large {
			ahead = r.readAhead(ctx, p.chain, to)
		}
		ran := false
		if err := r.step(ctx, func(tx database.Tx) error {
			if ran {
				return r.foldAgain(ctx, tx, p)
			}
			ran = true
			return r.fold(ctx, tx, p.records)
		}); err != nil {
			return err
		}
		p.records = nil
		r.chain, r.replayed = p.chain, r.replayed+p.bytes
		if r.told != nil {
			r.told(r.chain.Position(), p.head.Position)
		}
		if r.chain.Position() >= to {
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
		if large {
			ahead = r.readAhead(ctx, r.chain, to)
		}
	}
}

// page of the log, and the chain at its end.
type page struct {
	head    eventlog.Head
	records []eventlog.Record
	bytes   int64 // of their payloads
	chain   eventlog.Chain
	err     error
}

// readAhead begins to read the page behind the chain and to check it. The function that it
// returns waits for that; called again, it returns no records.
func (r *replay) readAhead(ctx context.Context, chain eventlog.Chain, to uint64) func() page {
	size := r.pace.page()
	done := make(chan struct{})
	p := page{chain: chain}
	go func() {
		defer close(done)
		p.err = r.db.Read(ctx, func(tx database.Tx) (err error) {
			if p.head, err = eventlog.HeadTx(ctx, tx); err != nil {
				return err
			}
			p.records, err = next(ctx, tx, chain.Position(), p.head, to, size)
			return err
		})
		for i := 0; i < len(p.records) && p.err == nil; i++ {
			p.bytes += int64(len(p.records[i].Payload))
			p.err = p.chain.Next(p.records[i])
		}
	}()
	return func() page {
		<-done
		got := p
		p.records = nil // the page is the caller's, and may be large
		return got
	}
}

// foldAgain folds a page in a transaction that is run again: the first run has forgotten
// what it read.
func (r *replay) foldAgain(ctx context.Context, tx database.Tx, p page) error {
	for at, end := r.chain.Position(), p.chain.Position(); at < end; {
		records, err := next(ctx, tx, at, p.head, end, r.pace.page())
		if err != nil {
			return err
		}
		if err := r.fold(ctx, tx, records); err != nil {
			return err
		}
		at += uint64(len(records))
	}
	return nil
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

// next reads the page that follows the position; none at the head, or at the position to (0: there is none).
func next(ctx context.Context, tx database.Tx, after uint64, head eventlog.Head, to uint64, page eventlog.Page) ([]eventlog.Record, error) {
	end := head.Position
	if to != 0 {
		end = min(end, to)
	}
	if after >= end {
		return nil, nil
	}
	page.Records = int(min(uint64(page.Records), end-after))
	records, err := eventlog.ReadPageTx(ctx, tx, after, page)
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%w: it ends at %d, the head is %d", eventlog.ErrBroken, after, head.Position)
	}
	return records, err
}

func (r *replay) fold(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
	return r.into.Apply(ctx, tx, records)
}

// An index that is made of a full table costs a fifth of one that grows with it: the keys
// are digests, so each row would change another page. What is unique is part of its table:
// the fold needs it.

// split parts the text that makes tables into the tables and the statements that make
// their other indexes, which have a line each.
func split(text string) (tables string, indexes []string) {
	var rest strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "CREATE INDEX ") {
			indexes = append(indexes, line)
		} else {
			rest.WriteString(line)
		}
	}
	return rest.String(), indexes
}

// indexesDue reports whether the indexes have to be made before the tables are full.
// While an index is made, nobody else can write to SQLite: it is made at once if somebody
// does, and in any case before that would take longer than they wait. PostgreSQL says
// nothing meanwhile, which is not taken for silence for as long as database.Patient says.
func (r *replay) indexesDue() bool {
	if r.db.Engine() == database.SQLite {
		return r.pace.busy() || r.replayed > indexedBytes
	}
	return r.replayed > indexedBytesPostgreSQL
}

// makeIndexes makes those that are missing, each in a transaction.
func (r *replay) makeIndexes(ctx context.Context) error {
	for len(r.indexes) > 0 {
		if err := r.step(ctx, func(tx database.Tx) error {
			if _, err := tx.ExecContext(ctx, r.indexes[0]); err != nil {
				return err
			}
			// It may have taken longer than the claim.
			return r.renew(ctx, tx, r.holder, time.Now().Add(claimTime))
		}); err != nil {
			return err
		}
		r.indexes = r.indexes[1:]
		if err := pause(ctx, r.pace.pause()); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
