package headmark

import (
	"context"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// Of returns the mark of the log's head in the snapshot of tx.
func Of(ctx context.Context, tx database.Tx, now time.Time) (Mark, error) {
	head, err := eventlog.HeadTx(ctx, tx)
	return Mark{LogID: head.LogID, Position: head.Position, Hash: head.Hash, Time: now}, err
}

// Older says in words why the log is older than the mark in a backend; "" if it
// is not, or if that very mark was accepted by v1.log.recovered.
func Older(ctx context.Context, tx database.Tx, backendID string, m Mark) (string, error) {
	head, err := eventlog.HeadTx(ctx, tx)
	if err != nil {
		return "", err
	}
	if m.Position <= head.Position {
		hash, err := eventlog.HashTx(ctx, tx, m.Position)
		if err != nil || hash == m.Hash && m.LogID == head.LogID {
			return "", err
		}
	}
	position, hash, err := view.FindAcceptedMark(ctx, tx, backendID)
	if err != nil || position == m.Position && hash == m.Hash && m.LogID == head.LogID {
		return "", err
	}
	switch {
	case m.LogID != head.LogID:
		return fmt.Sprintf("the head mark is of the log %s, this one is %s", m.LogID, head.LogID), nil
	case m.Position > head.Position:
		return fmt.Sprintf("the log had come to event %d when the head mark was written (%s), and now ends before it",
			m.Position, m.Time.UTC().Format(time.RFC3339)), nil
	}
	return fmt.Sprintf("event %d is not the one that the log had when the head mark was written (%s)", m.Position, m.Time.UTC().Format(time.RFC3339)), nil
}
