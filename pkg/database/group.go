package database

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// Group is Write for small changes: concurrent calls share a transaction, and
// so one sync of the disk. Calls that come while a commit is under way join
// the next one; nobody waits on a timer. fn must not depend on being alone:
// in the same transaction others have run before it. One that fails is undone
// alone. Errors are as of Write; a panic in fn becomes an error.
//
// A context that ends before fn has begun takes the call out; after that it
// does not break anything off, also not the statements that fn runs.
func (db *DB) Group(ctx context.Context, fn func(tx Tx) error) error {
	m := &member{NewCall(ctx), fn}
	if err := db.groups.Add(m); err != nil {
		return ErrClosed
	}
	return m.Wait()
}

type group = Queue[*member]

func newGroup(db *DB) *group {
	return NewQueue(maxGroup, func(members []*member) { db.runGroup(members) })
}

func (db *DB) runGroup(members []*member) {
	members = slices.DeleteFunc(members, func(m *member) bool { return !m.Begin() })
	if len(members) == 0 {
		return
	}
	ctx := context.WithoutCancel(members[0].Context())
	errs := make([]error, len(members))
	err := db.Write(ctx, func(tx Tx) error {
		for i, m := range members {
			if errs[i] = m.runIn(ctx, tx); isBroken(errs[i]) {
				return errs[i]
			}
		}
		return nil
	})
	if err == nil || errors.Is(err, ErrUnknownOutcome) || len(members) == 1 {
		for i, m := range members {
			if err != nil {
				errs[i] = err
			}
			m.Finish(errs[i])
		}
		return
	}
	// One of them may have taken all with it: nothing was committed, so each tries alone.
	for _, m := range members {
		m.Finish(db.Write(ctx, func(tx Tx) error { return m.runIn(ctx, tx) }))
	}
}

func isBroken(err error) bool {
	_, ok := errors.AsType[*BrokenError](err)
	return ok
}

type member struct {
	*Call
	run func(tx Tx) error
}

func (m *member) runIn(ctx context.Context, tx Tx) error {
	tx = Detached(tx)
	return Savepoint(ctx, tx, func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return m.run(tx)
	})
}
