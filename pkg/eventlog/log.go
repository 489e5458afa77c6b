package eventlog

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
)

// payload is the last column: SQLite can then read the others without it.
var migrations = []string{`
CREATE TABLE log_head (
	id BIGINT PRIMARY KEY CHECK (id = 1),
	log_id TEXT NOT NULL,
	position BIGINT NOT NULL,
	time BIGINT NOT NULL,
	hash BYTEA NOT NULL
);
CREATE TABLE events (
	position BIGINT PRIMARY KEY,
	time BIGINT NOT NULL,
	kind TEXT NOT NULL,
	actor TEXT NOT NULL,
	subject TEXT NOT NULL,
	previous BYTEA NOT NULL,
	hash BYTEA NOT NULL,
	payload BYTEA NOT NULL
);
`, `
-- The fence. A program that knows no fence sets position alone, and with a fence the CHECK refuses that.
ALTER TABLE log_head ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE log_head ADD COLUMN fenced_position BIGINT NOT NULL DEFAULT 0 CHECK (fence = 0 OR fenced_position = position);
`}

// Log is the event log of one database. Several processes may have it open; all
// methods may be called concurrently.
type Log struct {
	db    *database.DB
	apply Fold
	now   func() time.Time
	id    string
	level int // highest level of events that this program knows
	group *database.Group
	tip   tip

	pending pending
	locked  time.Time // when the group's transaction got the head's lock
	held    func(time.Duration)
	known   atomic.Pointer[known]

	fenced atomic.Pointer[FencedError]

	mu    sync.Mutex
	grown chan struct{} // closed and replaced when this process appends
}

// Option of Open.
type Option func(*Log)

// Knows sets the highest Level of events that this program knows; the default is 0.
func Knows(level int) Option { return func(l *Log) { l.level = level } }

// Folds has the records of a commit folded together, instead of one by one by Open's apply.
func Folds(fold Fold) Option { return func(l *Log) { l.apply = fold } }

// Held is told how long each commit held the lock of the head, in this process.
func Held(told func(time.Duration)) Option { return func(l *Log) { l.held = told } }

// Open creates the log's tables if they are missing. apply runs for each record that this
// Log appends; nil if there are no views. now returns the time of records. The caller
// closes the database, after Close. ErrFenced.
func Open(ctx context.Context, db *database.DB, apply Apply, now func() time.Time, options ...Option) (*Log, error) {
	if err := db.Migrate(ctx, "eventlog", migrations); err != nil {
		return nil, err
	}
	l := &Log{db: db, apply: oneByOne(apply), now: now, held: func(time.Duration) {}, grown: make(chan struct{})}
	for _, option := range options {
		option(l)
	}
	err := db.Write(ctx, func(tx database.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO log_head (id, log_id, position, time, hash)
			VALUES (1, $1, 0, 0, $2) ON CONFLICT DO NOTHING`, uuid.NewString(), make([]byte, 32))
		if err != nil {
			return err
		}
		var fence int
		if err := tx.QueryRowContext(ctx, "SELECT fence FROM log_head").Scan(&fence); err != nil {
			return err
		}
		head, err := HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		l.id = head.LogID
		l.saw(head.Position, head.Hash)
		return l.checkFence(fence)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the event log: %w", err)
	}
	l.group = db.NewGroup(database.Hooks{
		Begin: l.begin,
		Full:  func() bool { return l.tip.grown >= maxBatchBytes },
		Heavy: func() bool { return l.tip.grown >= heavyBytes },
		Next:  l.before,
		End:   l.flush,
		Committed: func() {
			l.held(time.Since(l.locked))
			l.saw(l.tip.position, l.tip.hash)
			if l.tip.moved {
				l.wake()
			}
		},
	})
	return l, nil
}

// ID returns the log's UUID.
func (l *Log) ID() string { return l.id }

// Close refuses further commands and waits for those accepted before. It always returns
// nil; the result makes it an io.Closer.
func (l *Log) Close() error {
	l.group.Close()
	return nil
}

func (l *Log) growth() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown
}

func (l *Log) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
}
