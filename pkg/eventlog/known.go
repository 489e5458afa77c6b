package eventlog

import (
	"context"
	"errors"

	"github.com/coulomb/artifact-store/pkg/database"
)

// known is a head that this Log has seen. A log only grows: if the database does not have
// that record any more, it is another one, or was put back to an older state, and what is
// appended to it would contradict what was answered before.
type known struct {
	position uint64
	hash     [32]byte
}

const (
	reasonAnotherLog = "the database is another one than before: its event log has another id"
	reasonOlderLog   = "the database is older than before: events that were answered are not in it (it was restored from a backup, or a failover lost them); " +
		"to go on with it, restart the manager"
)

var errNotKnown = errors.New("the head of the event log is not the one that was known")

// saw remembers a head.
func (l *Log) saw(position uint64, hash [32]byte) { l.known.Store(&known{position, hash}) }

// checkKnown returns an ErrUnavailable if the log in tx is not the one that was known.
func (l *Log) checkKnown(ctx context.Context, tx database.Tx, before known, now Head) error {
	if now.LogID != l.id {
		return database.RefuseWrites(reasonAnotherLog, errNotKnown)
	}
	hash := now.Hash
	if now.Position > before.position { // others have appended
		var err error
		if hash, err = HashTx(ctx, tx, before.position); err != nil && !errors.Is(err, ErrPastHead) {
			return err
		}
	}
	if now.Position < before.position || hash != before.hash {
		return database.RefuseWrites(reasonOlderLog, errNotKnown)
	}
	return nil
}

// CheckHead reports whether the database still has the log that was known.
// database.ErrUnavailable.
func (l *Log) CheckHead(ctx context.Context) error {
	before := *l.known.Load() // before the snapshot is taken
	return l.db.Read(ctx, func(tx database.Tx) error {
		now, err := HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		return l.checkKnown(ctx, tx, before, now)
	})
}
