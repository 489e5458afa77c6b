package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
)

// ErrFenced: the log contains an event of a newer version, which this program does not
// know. Always a *FencedError. It is permanent until the program is replaced.
var ErrFenced = errors.New("a newer version has written to the event log")

// FencedError contains the log's level and the level that this program knows.
type FencedError struct{ Fence, Known int }

func (e *FencedError) Error() string {
	return fmt.Sprintf("%v what this version does not know (fence %d, known %d): upgrade this replica", ErrFenced, e.Fence, e.Known)
}

// Is makes a FencedError an ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// The fence is the highest Level of all appended events. It is in the head row, and the
// transaction that appends the event raises it. A Log that knows a lower level cannot
// append any more: it would decide by views whose rows it does not understand.
func (l *Log) checkFence(fence int) error {
	if fence <= l.level {
		return nil
	}
	l.fenced.CompareAndSwap(nil, &FencedError{fence, l.level})
	return l.Fenced()
}

// Fenced returns a *FencedError if this Log has found that it may not append any more,
// otherwise nil. It does not read the database: see CheckFence.
func (l *Log) Fenced() error {
	if fenced := l.fenced.Load(); fenced != nil {
		return fenced
	}
	return nil
}

// CheckFence reads whether this Log may still append. ErrFenced.
func (l *Log) CheckFence(ctx context.Context) error {
	if err := l.Fenced(); err != nil {
		return err
	}
	var fence int
	if err := l.db.Read(ctx, func(tx database.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT fence FROM log_head WHERE id = 1").Scan(&fence)
	}); err != nil {
		return fmt.Errorf("reading the fence of the event log: %w", err)
	}
	return l.checkFence(fence)
}

// RaiseFence stops the appends of programs that know a lower level, for a reason other
// than an event. It locks the head, like LockHead.
func RaiseFence(ctx context.Context, tx database.Tx, level int) error {
	if _, err := tx.ExecContext(ctx, "UPDATE log_head SET fence = $1, fenced_position = position WHERE id = 1 AND fence < $1", level); err != nil {
		return fmt.Errorf("raising the fence of the event log: %w", err)
	}
	return nil
}
