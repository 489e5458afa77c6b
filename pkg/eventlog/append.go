package eventlog

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// command is one call of Append.
type command struct {
	*database.Call
	decide  Decide
	records []Record
	err     error
}

// Append runs decide under the lock of the log's head and appends the events
// that it returns, at consecutive positions, with their Apply: all or, if any
// of these fails, nothing, and then it returns that error. The records are
// durable when it returns them. Concurrent calls share a commit; one that
// fails does not harm the others.
//
// A context that ends before decide has begun takes the call out; after that
// nothing breaks it off. ErrUnknownOutcome, ErrInvalidEvent, ErrClosed.
func (l *Log) Append(ctx context.Context, decide Decide) ([]Record, error) {
	c := &command{Call: database.NewCall(ctx), decide: decide}
	if err := l.queue.Add(c); err != nil {
		return nil, ErrClosed
	}
	if err := c.Wait(); err != nil {
		return nil, err
	}
	return c.records, nil
}

// runCommands answers each command. Batches are cut at maxBatchBytes.
func (l *Log) runCommands(commands []*command) {
	commands = slices.DeleteFunc(commands, func(c *command) bool { return !c.Begin() })
	for len(commands) > 0 {
		batch := commands
		n, err := l.runBatch(batch)
		if n > 0 {
			batch = commands[:n]
		}
		if n > 1 && err != nil && !errors.Is(err, ErrUnknownOutcome) {
			// One of them may have taken all with it: nothing was committed, so each tries alone.
			for _, c := range batch {
				if _, err := l.runBatch([]*command{c}); err != nil {
					c.err = err
				}
			}
			err = nil
		}
		grown := false
		for _, c := range batch {
			if err != nil {
				c.err = err
			}
			grown = grown || c.err == nil && len(c.records) > 0
		}
		if grown {
			l.wake()
		}
		for _, c := range batch {
			c.Finish(c.err)
		}
		commands = commands[len(batch):]
	}
}

// runBatch runs the first n of the commands, as many as fit, in one
// transaction. Its error is of the transaction; each command has its own. With
// n = 0 it was not even begun.
func (l *Log) runBatch(commands []*command) (n int, err error) {
	ctx := context.WithoutCancel(commands[0].Context())
	err = l.db.Write(ctx, func(tx database.Tx) error {
		n = 0 // it may be run again
		head, err := lockHead(ctx, tx)
		if err != nil {
			return err
		}
		for size := 0; n < len(commands) && size < maxBatchBytes; {
			c := commands[n]
			n++
			head, c.err = l.runCommand(tx, c, head)
			if broken, ok := errors.AsType[*database.BrokenError](c.err); ok {
				return broken
			}
			for _, record := range c.records {
				size += len(record.Payload)
			}
		}
		return nil
	})
	return n, err
}

// tip is the head as the batch has it.
type tip struct {
	position uint64
	time     int64
	hash     [32]byte
}

// lockHead locks the head row until the transaction ends, on both engines and
// against other processes: only an UPDATE does.
func lockHead(ctx context.Context, tx database.Tx) (tip, error) {
	var t tip
	var hash []byte
	err := tx.QueryRowContext(ctx, "UPDATE log_head SET position = position WHERE id = 1 RETURNING position, time, hash").
		Scan(&t.position, &t.time, &hash)
	if err != nil {
		return tip{}, fmt.Errorf("locking the head of the event log: %w", err)
	}
	copy(t.hash[:], hash)
	return t, nil
}

// runCommand runs one command under a savepoint and returns the new head, which is the old one if it failed.
func (l *Log) runCommand(tx database.Tx, c *command, head tip) (tip, error) {
	ctx := context.WithoutCancel(c.Context())
	tx = database.Detached(tx)
	next := head
	err := database.Savepoint(ctx, tx, func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		c.records = nil
		events, err := c.decide(ctx, tx)
		if err != nil {
			return err
		}
		if len(events) > MaxEventsPerCommand {
			return fmt.Errorf("%w: %d events by one command, at most %d are allowed", ErrInvalidEvent, len(events), MaxEventsPerCommand)
		}
		c.records, next, err = l.chain(events, head)
		if err != nil || len(events) == 0 {
			return err
		}
		return l.insert(ctx, tx, c.records, next)
	})
	if err != nil {
		c.records = nil
		return head, err
	}
	return next, nil
}

// chain gives events their places after the head.
func (l *Log) chain(events []Event, head tip) ([]Record, tip, error) {
	if len(events) == 0 {
		return nil, head, nil
	}
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
		event.Payload = append([]byte{}, event.Payload...)
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
	return records, head, nil
}

var eventColumns = []string{"position", "time", "kind", "actor", "subject", "previous", "hash", "payload"}

// insert writes records, head and views. The head is moved per command, so
// that what runs later in this transaction reads a log that is whole.
func (l *Log) insert(ctx context.Context, tx database.Tx, records []Record, head tip) error {
	rows := make([][]any, len(records))
	for i, r := range records {
		rows[i] = []any{int64(r.Position), r.Time.UnixMicro(), r.Kind, r.Actor, r.Subject, r.Previous[:], r.Hash[:], r.Payload}
	}
	if _, err := database.InsertRows(ctx, tx, "events", eventColumns, rows, ""); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE log_head SET position = $1, time = $2, hash = $3 WHERE id = 1",
		int64(head.position), head.time, head.hash[:])
	if err != nil {
		return fmt.Errorf("moving the head of the event log: %w", err)
	}
	for _, record := range records {
		if err := l.apply(ctx, tx, record); err != nil {
			return fmt.Errorf("applying event %d (%s): %w", record.Position, record.Kind, err)
		}
	}
	return nil
}
