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

// Older describes why the log is older than the mark in a backend, "" if it is
// not. accepted: it is, but v1.log.recovered has accepted that very mark, so
// that it is to be moved back.
func Older(ctx context.Context, tx database.Tx, backendID string, m Mark) (why string, accepted bool, err error) {
	head, err := eventlog.HeadTx(ctx, tx)
	if err != nil {
		return "", false, err
	}
	if m.Position <= head.Position {
		hash, err := eventlog.HashTx(ctx, tx, m.Position)
		if err != nil || hash == m.Hash && m.LogID == head.LogID {
			return "", false, err
		}
	}
	position, hash, err := view.FindAcceptedMark(ctx, tx, backendID)
	if err != nil || position == m.Position && hash == m.Hash && m.LogID == head.LogID {
		return "", err == nil, err
	}
	when := m.Time.UTC().Format(time.RFC3339)
	switch {
	case m.LogID != head.LogID:
		why = fmt.Sprintf("the head mark belongs to the log %.80q, this one is %s", m.LogID, head.LogID)
	case m.Position > head.Position:
		why = fmt.Sprintf("the log contained event %d when the head mark was written (%s), and now ends before it", m.Position, when)
	default:
		why = fmt.Sprintf("event %d is not the one that the log contained when the head mark was written (%s)", m.Position, when)
	}
	return why, false, nil
}
