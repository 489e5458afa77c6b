package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Append runs decide under the lock of the log's head and appends the returned events
// at consecutive positions, with their Apply. If any of these fails, it appends
// nothing and returns that error. The returned records are durable. Concurrent calls
// share a commit; a failing call does not affect the others.
//
// If the context ends before decide has begun, decide does not run; after that nothing
// interrupts it. ErrUnknownOutcome, ErrInvalidEvent, ErrFenced, ErrClosed.
func (l *Log) Append(ctx context.Context, decide Decide) ([]Record, error) {
	return l.AppendKeyed(ctx, "", decide)
}

// AppendKeyed is Append of a command that decides as it would if the commands with other
// keys that share its commit were not there: it reads nothing of the log and the views
// that they change. Their records are then written, and folded, together. An empty key is
// that of a command that may read anything.
func (l *Log) AppendKeyed(ctx context.Context, key string, decide Decide) ([]Record, error) {
	var records []Record
	err := l.group.DoKeyed(ctx, key, func(tx database.Tx) (err error) {
		if records, err = l.run(context.WithoutCancel(ctx), tx, decide); err == nil {
			l.pending.add(key, records)
		}
		return err
	})
	if errors.Is(err, database.ErrClosed) {
		return nil, ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return records, nil
}

// tip is the head as this transaction sees it. Only the group's goroutine uses it.
type tip struct {
	position uint64
	time     int64
	hash     [32]byte
	fence    int
	grown    int // bytes of payload appended in this transaction
	moved    bool
}

// LockHead returns the head and blocks every append, in this process and others, until
// tx ends. It waits for appends in progress.
func LockHead(ctx context.Context, tx database.Tx) (Head, error) {
	if _, err := tx.ExecContext(ctx, "UPDATE log_head SET position = position WHERE id = 1"); err != nil {
		return Head{}, fmt.Errorf("locking the head of the event log: %w", err)
	}
	return HeadTx(ctx, tx)
}

// begin locks the head row until the transaction ends. On both engines only an UPDATE
// does that against other processes.
func (l *Log) begin(ctx context.Context, tx database.Tx) error {
	l.tip, l.pending = tip{}, pending{}
	var id string
	var hash []byte
	err := tx.QueryRowContext(ctx, "UPDATE log_head SET position = position WHERE id = 1 RETURNING log_id, position, time, hash, fence").
		Scan(&id, &l.tip.position, &l.tip.time, &hash, &l.tip.fence)
	if err != nil {
		return fmt.Errorf("locking the head of the event log: %w", err)
	}
	l.locked = time.Now()
	copy(l.tip.hash[:], hash)
	if err := l.checkFence(l.tip.fence); err != nil {
		return err
	}
	return l.checkKnown(ctx, tx, *l.known.Load(), Head{LogID: id, Position: l.tip.position, Hash: l.tip.hash})
}

// run runs one decision. If it fails, the caller undoes its writes.
func (l *Log) run(ctx context.Context, tx database.Tx, decide Decide) ([]Record, error) {
	events, err := decide(ctx, tx)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	if len(events) > MaxEventsPerCommand {
		return nil, fmt.Errorf("%w: %d events by one command, at most %d are allowed", ErrInvalidEvent, len(events), MaxEventsPerCommand)
	}
	records, next, err := l.chain(events, l.tip)
	if err == nil {
		l.tip = next
	}
	return records, err
}

// pending are records that were decided in this transaction and are not written yet.
// Only the group's goroutine uses it.
type pending struct {
	records []Record
	bytes   int // of their payloads
	keys    map[string]bool
}

func (p *pending) add(key string, records []Record) {
	p.records = append(p.records, records...)
	for _, r := range records {
		p.bytes += len(r.Payload)
	}
	if p.keys == nil {
		p.keys = make(map[string]bool)
	}
	p.keys[key] = true
}

// before writes what is pending, unless the command with this key may do without: what a
// command without a key has decided may concern everybody.
func (l *Log) before(ctx context.Context, tx database.Tx, key string) error {
	if key != "" && !l.pending.keys[key] && !l.pending.keys[""] && l.pending.bytes < maxPendingBytes {
		return nil
	}
	return l.flush(ctx, tx)
}

// flush writes what is pending.
func (l *Log) flush(ctx context.Context, tx database.Tx) error {
	records := l.pending.records
	l.pending = pending{}
	if len(records) == 0 {
		return nil
	}
	return l.insert(context.WithoutCancel(ctx), tx, records, l.tip)
}

// chain assigns positions after the head to events.
func (l *Log) chain(events []Event, head tip) ([]Record, tip, error) {
	head.time = max(l.now().UnixMicro(), head.time) // clocks differ between processes, and step back
	records := make([]Record, len(events))
	size := 0
	for i, event := range events {
		if err := event.validate(); err != nil {
			return nil, head, fmt.Errorf("event %d: %w", i, err)
		}
		if size += len(event.Payload); size > MaxCommandBytes {
			return nil, head, fmt.Errorf("%w: more than %d bytes of payload by one command", ErrInvalidEvent, MaxCommandBytes)
		}
		if event.Level > l.level {
			return nil, head, fmt.Errorf("%w: %s has the fence level %d, this program knows %d", ErrInvalidEvent, event.Kind, event.Level, l.level)
		}
		head.fence = max(head.fence, event.Level)
		event.Level = 0 // the level belongs to the log's head, not to the record
		if event.Payload == nil {
			event.Payload = []byte{}
		}
		record := Record{
			Position: head.position + 1, Time: time.UnixMicro(head.time).UTC(), Event: event, Previous: head.hash,
		}
		var err error
		if record.Hash, err = record.ComputeHash(); err != nil {
			return nil, head, err
		}
		records[i] = record
		head.position, head.hash = record.Position, record.Hash
	}
	head.grown += size
	head.moved = true
	return records, head, nil
}

var eventColumns = []string{"position", "time", "kind", "actor", "subject", "previous", "hash", "payload"}

// insert writes records, head and views.
func (l *Log) insert(ctx context.Context, tx database.Tx, records []Record, head tip) error {
	rows := make([][]any, len(records))
	for i, r := range records {
		rows[i] = []any{int64(r.Position), r.Time.UnixMicro(), r.Kind, r.Actor, r.Subject, r.Previous[:], r.Hash[:], r.Payload}
	}
	if _, err := database.InsertRows(ctx, tx, "events", eventColumns, rows, ""); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE log_head SET position = $1, time = $2, hash = $3, fence = $4, fenced_position = $5 WHERE id = 1",
		int64(head.position), head.time, head.hash[:], head.fence, int64(head.position))
	if err != nil {
		return fmt.Errorf("moving the head of the event log: %w", err)
	}
	return l.apply(ctx, tx, records)
}
