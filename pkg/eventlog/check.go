package eventlog

import (
	"context"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Check walks the whole log in the snapshot of tx and returns its head if positions are
// gap-free from 1, times never step back, every hash is correct and chained to the
// previous one, and the head row agrees. Otherwise it returns an ErrBroken that names the
// first wrong position. Memory is bounded by a page.
func Check(ctx context.Context, tx database.Tx) (Head, error) {
	head, err := HeadTx(ctx, tx)
	if err != nil {
		return Head{}, err
	}
	if err := checkOutside(ctx, tx, head); err != nil {
		return Head{}, err
	}
	var chain Chain
	for chain.Position() < head.Position {
		records, err := ReadPageTx(ctx, tx, chain.Position(), Page{Records: MaxPage, Bytes: checkPageBytes})
		if err != nil {
			return Head{}, err
		}
		if len(records) == 0 {
			return Head{}, fmt.Errorf("%w: it ends at %d, the head is %d", ErrBroken, chain.Position(), head.Position)
		}
		for _, record := range records {
			if err := chain.Next(record); err != nil {
				return Head{}, err
			}
		}
	}
	return head, chain.end(head)
}

// Chain checks records one after the other, starting at the first. The zero value is
// before the first.
type Chain struct {
	position uint64
	time     time.Time
	hash     [32]byte
}

// Position of the last record, 0 before the first.
func (c *Chain) Position() uint64 { return c.position }

// Next checks the next record. An ErrBroken says what is wrong with it.
func (c *Chain) Next(record Record) error {
	if record.Position != c.position+1 {
		return fmt.Errorf("%w: after record %d comes %d", ErrBroken, c.position, record.Position)
	}
	if record.Previous != c.hash {
		return fmt.Errorf("%w: record %d does not follow record %d by its hash", ErrBroken, record.Position, c.position)
	}
	if c.position > 0 && record.Time.Before(c.time) {
		return fmt.Errorf("%w: record %d is older than record %d", ErrBroken, record.Position, c.position)
	}
	want, err := record.ComputeHash()
	if err != nil {
		return err
	}
	if record.Hash != want {
		return fmt.Errorf("%w: the hash of record %d does not match its contents", ErrBroken, record.Position)
	}
	c.position, c.time, c.hash = record.Position, record.Time, record.Hash
	return nil
}

// End returns an ErrBroken unless the log in the snapshot of tx ends with the last
// record; head is that of the snapshot.
func (c *Chain) End(ctx context.Context, tx database.Tx, head Head) error {
	if err := checkOutside(ctx, tx, head); err != nil {
		return err
	}
	return c.end(head)
}

func (c *Chain) end(head Head) error {
	if c.position != head.Position || c.hash != head.Hash {
		return fmt.Errorf("%w: the hash of record %d is not that of the head", ErrBroken, c.position)
	}
	return nil
}

func checkOutside(ctx context.Context, tx database.Tx, head Head) error {
	var beyond int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM events WHERE position > $1 OR position < 1", int64(head.Position)).Scan(&beyond); err != nil {
		return fmt.Errorf("reading the event log: %w", err)
	}
	if beyond != 0 {
		return fmt.Errorf("%w: %d records are outside 1 to %d, the head", ErrBroken, beyond, head.Position)
	}
	return nil
}
