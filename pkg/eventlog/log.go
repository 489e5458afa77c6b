package eventlog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
)

// payload stands last: on SQLite the other columns are then read without it.
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
`}

// Log is the event log of one database. Several processes may have it open;
// all methods may be called concurrently.
type Log struct {
	db    *database.DB
	apply Apply
	now   func() time.Time
	id    string
	queue *database.Queue[*command]

	mu    sync.Mutex
	grown chan struct{} // closed, and replaced, when something was appended by this process
}

// Open creates the log's tables if need be. apply is run for each record that
// this Log appends; nil if there are no views. now gives the time of records.
// The database stays the caller's to close, after Close.
func Open(ctx context.Context, db *database.DB, apply Apply, now func() time.Time) (*Log, error) {
	if err := db.Migrate(ctx, "eventlog", migrations); err != nil {
		return nil, err
	}
	if apply == nil {
		apply = func(context.Context, database.Tx, Record) error { return nil }
	}
	l := &Log{db: db, apply: apply, now: now, grown: make(chan struct{})}
	err := db.Write(ctx, func(tx database.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO log_head (id, log_id, position, time, hash)
			VALUES (1, $1, 0, 0, $2) ON CONFLICT DO NOTHING`, uuid.NewString(), make([]byte, 32))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT log_id FROM log_head").Scan(&l.id)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the event log: %w", err)
	}
	l.queue = database.NewQueue(maxCommands, l.runCommands)
	return l, nil
}

// ID is the log's UUID.
func (l *Log) ID() string { return l.id }

// Close refuses further commands and waits for those that were handed in. It does
// not fail; the result makes it an io.Closer.
func (l *Log) Close() error {
	l.queue.Close()
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
