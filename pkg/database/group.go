package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Group lets concurrent calls share a transaction, and so one sync of the disk. Calls
// that arrive during a commit join the next one; nobody waits for a timer.
type Group struct {
	db    *DB
	hooks Hooks
	queue *queue[*member]

	// The last transaction, if it ended because the database was unavailable.
	failed error
	ended  time.Time
}

// Hooks of a Group; each may be nil. They run on the goroutine that runs the members,
// one at a time.
type Hooks struct {
	// Begin runs first in each transaction, and again if that is retried. Its error fails every waiting member.
	Begin func(ctx context.Context, tx Tx) error
	// Full is called before each member but the first: true leaves the rest to another transaction.
	Full func() bool
	// Heavy is called before each member: true means that what those before have done is too
	// much to be done again because of this one. It runs under a savepoint then.
	Heavy func() bool
	// Next runs before each member, with its key, and End after the last, in the
	// transaction. Unlike a member's, their error fails all of it.
	Next func(ctx context.Context, tx Tx, key string) error
	End  func(ctx context.Context, tx Tx) error
	// Committed runs after each commit, before the members are answered.
	Committed func()
}

// NewGroup returns a Group with transactions of its own. Close ends it.
func (db *DB) NewGroup(hooks Hooks) *Group {
	if hooks.Begin == nil {
		hooks.Begin = func(context.Context, Tx) error { return nil }
	}
	if hooks.Full == nil {
		hooks.Full = func() bool { return false }
	}
	if hooks.Heavy == nil {
		hooks.Heavy = func() bool { return false }
	}
	if hooks.Next == nil {
		hooks.Next = func(context.Context, Tx, string) error { return nil }
	}
	if hooks.End == nil {
		hooks.End = func(context.Context, Tx) error { return nil }
	}
	if hooks.Committed == nil {
		hooks.Committed = func() {}
	}
	g := &Group{db: db, hooks: hooks}
	g.queue = newQueue(maxGroup, g.run)
	return g
}

// Group is Do of a Group that all callers share.
func (db *DB) Group(ctx context.Context, fn func(tx Tx) error) error { return db.group.Do(ctx, fn) }

// WriteSmall is Group on SQLite, where all writes wait for each other anyway, and Write on
// PostgreSQL: a request does not wait there for another one whose connection hangs.
func (db *DB) WriteSmall(ctx context.Context, fn func(tx Tx) error) error {
	if db.engine == SQLite {
		return db.Group(ctx, fn)
	}
	return db.Write(ctx, fn)
}

// Do is Write for small changes. fn must not rely on being alone: others have run before
// it in the same transaction. If one fails, only its changes are undone. Errors are as of
// Write; a panic in fn becomes an error; ErrClosed.
//
// If the context ends before fn has begun, fn does not run. After that the context
// interrupts nothing, not even the statements of fn.
func (g *Group) Do(ctx context.Context, fn func(tx Tx) error) error { return g.DoKeyed(ctx, "", fn) }

// DoKeyed is Do of a member with a key for Hooks.Next.
func (g *Group) DoKeyed(ctx context.Context, key string, fn func(tx Tx) error) error {
	m := &member{call: newCall(ctx), key: key, fn: fn, at: time.Now()}
	if err := g.queue.add(m); err != nil {
		return err
	}
	return m.wait()
}

// Close refuses further calls and waits for those accepted before.
func (g *Group) Close() { g.queue.close() }

func (g *Group) run(members []*member) {
	members = slices.DeleteFunc(members, func(m *member) bool {
		if !m.begin() {
			return true
		}
		// Whoever waited for a transaction that failed for want of the database does not wait for another.
		waited := g.failed != nil && m.at.Before(g.ended)
		if waited {
			m.answer(g.failed)
		}
		return waited
	})
	for len(members) > 0 {
		batch := members
		n, err := g.transact(batch)
		if n > 0 { // with 0 no transaction could begin, and trying each alone is pointless
			batch = members[:n]
		}
		if n > 1 && err != nil && !errors.Is(err, ErrUnknownOutcome) && !errors.Is(err, ErrUnavailable) {
			// One member may have failed the whole transaction: nothing was committed, so each is tried alone.
			for _, m := range batch {
				_, err := g.transact([]*member{m})
				m.answer(err)
			}
		} else {
			for _, m := range batch {
				m.answer(err)
			}
		}
		members = members[len(batch):]
	}
}

// transact runs the first n of the members, as many as fit, in one transaction. Its
// error is the transaction's; each member has its own. Hardly any fails, so that first
// they do without savepoints, which cost two statements each.
func (g *Group) transact(members []*member) (n int, err error) {
	if n, err = g.attempt(members, false); errors.Is(err, errUndo) {
		n, err = g.attempt(members, true)
	}
	return n, err
}

// errUndo: a member has failed, and its changes are to be undone without those of others.
var errUndo = errors.New("a member of a transaction has failed")

func (g *Group) attempt(members []*member, guarded bool) (n int, err error) {
	ctx := context.WithoutCancel(members[0].ctx)
	err = g.db.Write(ctx, func(tx Tx) error {
		n = 0 // it may be retried
		if err := g.hooks.Begin(ctx, tx); err != nil {
			return err
		}
		for n < len(members) && (n == 0 || !g.hooks.Full()) {
			m := members[n]
			n++
			if err := g.hooks.Next(ctx, tx, m.key); err != nil {
				return err
			}
			if guarded || g.hooks.Heavy() {
				m.own = m.runGuarded(ctx, tx)
			} else {
				m.own = m.run(tx, g.db.engine)
			}
			if _, broken := errors.AsType[*brokenError](m.own); broken || errors.Is(m.own, errUndo) {
				return m.own
			}
		}
		return g.hooks.End(ctx, tx)
	})
	if err == nil {
		g.hooks.Committed()
	}
	if g.failed = nil; errors.Is(err, ErrUnavailable) {
		g.failed, g.ended = err, time.Now()
	}
	return n, err
}

// member is one call of Do.
type member struct {
	*call
	key string
	fn  func(tx Tx) error
	at  time.Time // when it came
	own error     // fn's
}

func (m *member) answer(err error) {
	if err == nil {
		err = markUnavailable(m.own)
	}
	m.finish(err)
}

// run runs fn without a savepoint. It returns errUndo if fn fails and may have changed
// something; on PostgreSQL a statement that fails spoils the transaction, too.
func (m *member) run(tx Tx, engine Engine) error {
	noted := &noting{Tx: detached{tx}, changed: engine == PostgreSQL}
	err := m.recovered(noted)
	if err == nil {
		return nil
	}
	if refused := beyondOne(err); refused != nil {
		return &brokenError{refused}
	}
	if noted.changed {
		return errUndo
	}
	return err
}

// runGuarded runs fn under a savepoint.
func (m *member) runGuarded(ctx context.Context, tx Tx) error {
	tx = detached{tx}
	return savepoint(ctx, tx, func() error { return m.recovered(tx) })
}

func (m *member) recovered(tx Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return m.fn(tx)
}

// noting notes whether a statement may have changed something.
type noting struct {
	Tx
	changed bool
}

func (n *noting) note(query string) {
	n.changed = n.changed || !strings.HasPrefix(query, "SELECT")
}

func (n *noting) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := n.Tx.ExecContext(ctx, query, args...)
	if err == nil && strings.HasPrefix(query, "UPDATE") {
		if rows, err := result.RowsAffected(); err == nil && rows == 0 {
			return result, nil
		}
	}
	n.note(query)
	return result, err
}

func (n *noting) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	n.note(query)
	return n.Tx.QueryContext(ctx, query, args...)
}

func (n *noting) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	n.note(query)
	return n.Tx.QueryRowContext(ctx, query, args...)
}
