package core

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// Read runs fn in one snapshot.
func (c *Core) Read(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.unlessFenced(func() error { return c.db.Read(ctx, fn) })
}

// ReadOne is Read of one short statement.
func (c *Core) ReadOne(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.unlessFenced(func() error { return c.db.ReadOne(ctx, fn) })
}

// ReadSmall is Read for look-ups by key.
func (c *Core) ReadSmall(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.unlessFenced(func() error { return c.db.ReadSmall(ctx, fn) })
}

// Write runs fn in a transaction of its own.
func (c *Core) Write(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.unlessFenced(func() error { return c.db.Write(ctx, fn) })
}

// WriteSmall is Write for small changes, of which concurrent ones may share a transaction.
func (c *Core) WriteSmall(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.unlessFenced(func() error { return c.db.WriteSmall(ctx, fn) })
}

// Group runs fn in a transaction that concurrent calls share.
func (c *Core) Group(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.unlessFenced(func() error { return c.db.Group(ctx, fn) })
}

// unlessFenced runs fn, but for a replica that must be upgraded: it does not
// know what the rows mean that a newer one writes.
func (c *Core) unlessFenced(fn func() error) error {
	err := c.log.Fenced()
	if err == nil {
		err = fn()
	}
	return c.noted(err)
}

// CheckFence looks whether this replica must be upgraded. If so, everything
// else here is registry.ErrFenced from then on.
func (c *Core) CheckFence(ctx context.Context) error { return c.noted(c.log.CheckFence(ctx)) }

// Analyze is database.DB's.
func (c *Core) Analyze(ctx context.Context, table string) error {
	return c.noted(c.db.Analyze(ctx, table))
}

// CheckWrites reports whether the database takes writes, and is the one that was known.
// registry.ErrDatabase.
func (c *Core) CheckWrites(ctx context.Context) error {
	err := c.db.CheckWrites(ctx)
	if err == nil {
		err = c.log.CheckHead(ctx)
	}
	return c.noted(err)
}

// Append appends what decide returns, under the lock of the log's head.
func (c *Core) Append(ctx context.Context, decide eventlog.Decide) error {
	_, err := c.log.Append(ctx, decide)
	return c.noted(err)
}

// AppendKeyed is eventlog.Log's.
func (c *Core) AppendKeyed(ctx context.Context, key string, decide eventlog.Decide) ([]eventlog.Record, error) {
	records, err := c.log.AppendKeyed(ctx, key, decide)
	return records, c.noted(err)
}

// LogID is the identity of the log.
func (c *Core) LogID() string { return c.log.ID() }

// Head returns the end of the log.
func (c *Core) Head(ctx context.Context) (eventlog.Head, error) {
	head, err := c.log.Head(ctx)
	return head, c.noted(err)
}

// ReadLog returns a page of records after the position.
func (c *Core) ReadLog(ctx context.Context, after uint64, page eventlog.Page) ([]eventlog.Record, error) {
	records, err := c.log.ReadPage(ctx, after, page)
	return records, c.noted(err)
}

// ReadRecord returns the record at the position.
func (c *Core) ReadRecord(ctx context.Context, position uint64) (eventlog.Record, error) {
	record, err := c.log.ReadOne(ctx, position)
	return record, c.noted(err)
}

// ReadPayload returns a piece of the payload of the record at the position.
func (c *Core) ReadPayload(ctx context.Context, position uint64, offset int64, n int) ([]byte, error) {
	piece, err := c.log.ReadPayload(ctx, position, offset, n)
	return piece, c.noted(err)
}

// FollowCut is eventlog.Log's.
func (c *Core) FollowCut(ctx context.Context, after uint64, cut int, yield func(eventlog.Record) error) error {
	return c.noted(c.log.FollowCut(ctx, after, cut, yield))
}

// IgnoreNotFound returns nil for an error that says that there is no such row.
func IgnoreNotFound(err error) error {
	if errors.Is(mapError(err), registry.ErrNotFound) {
		return nil
	}
	return err
}

// noted logs what the database itself says, whoever asked: some callers keep no more than
// a reason of it. The same words are logged once in faultInterval.
func (c *Core) noted(err error) error {
	if database.IsFault(err) {
		c.faults.Lock()
		repeated := c.faults.text == err.Error() && time.Since(c.faults.at) < faultInterval
		if !repeated {
			c.faults.text, c.faults.at = err.Error(), time.Now()
		}
		c.faults.Unlock()
		if !repeated {
			c.Logger.Warn("the database failed", "error", err)
		}
	}
	return mapError(err)
}

// mapError turns what the database, the views and the scratch tables say into
// the contract's errors. It is the only place that does.
func mapError(err error) error {
	switch {
	case errors.Is(err, view.ErrNotFound), errors.Is(err, upload.ErrNotFound):
		return registry.ErrNotFound
	case errors.Is(err, upload.ErrNotOpen):
		return registry.ErrPublished
	case errors.Is(err, eventlog.ErrFenced):
		return &databaseError{registry.ErrFenced, err}
	case errors.Is(err, database.ErrUnavailable):
		refused := &registry.DatabaseError{}
		if e, is := errors.AsType[*database.UnavailableError](err); is {
			refused.Message, refused.Reads = e.Reason, e.Reads
		}
		return &databaseError{refused, err}
	case errors.Is(err, database.ErrUnknownOutcome):
		return &databaseError{registry.ErrUnknownOutcome, err}
	}
	return err
}

// databaseError is one of the contract's errors about its database, and the cause.
type databaseError struct{ is, cause error }

func (e *databaseError) Error() string   { return e.cause.Error() }
func (e *databaseError) Unwrap() []error { return []error{e.is, e.cause} }

// WasAt returns an *InvalidError if the log has not reached the position, so that an answer
// about it would change. 0 is now.
func WasAt(ctx context.Context, tx database.Tx, at uint64) error {
	if at == 0 {
		return nil
	}
	head, err := eventlog.HeadTx(ctx, tx)
	if err == nil && at > head.Position {
		return registry.Invalid("at", "%d is past the head of the log, which is %d", at, head.Position)
	}
	return err
}
