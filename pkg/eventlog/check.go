package eventlog

import (
	"context"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Check walks the whole log in the snapshot of tx and returns its head if the
// positions are gap-free from 1, times never step back, every hash is right
// and chained to the one before, and the head row agrees; else an ErrBroken
// that names the first position where it is not so. Memory is bounded by a page.
func Check(ctx context.Context, tx database.Tx) (Head, error) {
	head, err := HeadTx(ctx, tx)
	if err != nil {
		return Head{}, err
	}
	var beyond int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM events WHERE position > $1 OR position < 1", int64(head.Position)).Scan(&beyond); err != nil {
		return Head{}, fmt.Errorf("reading the event log: %w", err)
	}
	if beyond != 0 {
		return Head{}, fmt.Errorf("%w: %d records are outside 1 to %d, the head", ErrBroken, beyond, head.Position)
	}
	var last Record
	for last.Position < head.Position {
		records, err := ReadTx(ctx, tx, last.Position, MaxPage)
		if err != nil {
			return Head{}, err
		}
		if len(records) == 0 {
			return Head{}, fmt.Errorf("%w: it ends at %d, the head is %d", ErrBroken, last.Position, head.Position)
		}
		for _, record := range records {
			if err := checkNext(last, record); err != nil {
				return Head{}, err
			}
			last = record
		}
	}
	if last.Hash != head.Hash {
		return Head{}, fmt.Errorf("%w: the hash of record %d is not that of the head", ErrBroken, last.Position)
	}
	return head, nil
}

func checkNext(last, record Record) error {
	if record.Position != last.Position+1 {
		return fmt.Errorf("%w: after record %d comes %d", ErrBroken, last.Position, record.Position)
	}
	if record.Previous != last.Hash {
		return fmt.Errorf("%w: record %d does not follow record %d by its hash", ErrBroken, record.Position, last.Position)
	}
	if last.Position > 0 && record.Time.Before(last.Time) {
		return fmt.Errorf("%w: record %d is older than record %d", ErrBroken, record.Position, last.Position)
	}
	want, err := record.ComputeHash()
	if err != nil {
		return err
	}
	if record.Hash != want {
		return fmt.Errorf("%w: the hash of record %d does not match its contents", ErrBroken, record.Position)
	}
	return nil
}
