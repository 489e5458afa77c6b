package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
)

// ErrFenced: the log holds an event that this program does not know, appended
// by a newer one. Always a *FencedError. It stays so until the program is replaced.
var ErrFenced = errors.New("a newer version has written to the event log")

// FencedError says which level the log has and which this program knows.
type FencedError struct{ Fence, Known int }

func (e *FencedError) Error() string {
	return fmt.Sprintf("%v what this version does not know (fence %d, known %d): upgrade this replica", ErrFenced, e.Fence, e.Known)
}

// Is makes it an ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// The fence is the highest Level of all events that were appended. It stands
// in the head row and is raised in the transaction that appends the event. A
// Log that knows less appends nothing any more: it would decide by views whose
// rows it does not understand.
func (l *Log) checkFence(fence int) error {
	if fence <= l.level {
		return nil
	}
	l.fenced.CompareAndSwap(nil, &FencedError{fence, l.level})
	return l.Fenced()
}

// Fenced returns a *FencedError once this Log has seen that it may not append
// any more, else nil. It asks nobody: see CheckFence.
func (l *Log) Fenced() error {
	if fenced := l.fenced.Load(); fenced != nil {
		return fenced
	}
	return nil
}

// CheckFence looks whether this Log may still append. ErrFenced.
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

// RaiseFence ends the appends of programs that know less than the level, for a
// reason that is no event. It locks the head, as LockHead does.
func RaiseFence(ctx context.Context, tx database.Tx, level int) error {
	if _, err := tx.ExecContext(ctx, "UPDATE log_head SET fence = $1 WHERE id = 1 AND fence < $1", level); err != nil {
		return fmt.Errorf("raising the fence of the event log: %w", err)
	}
	return nil
}
