// Package eventlog keeps an append-only log of events in a database: gap-free
// positions from 1 in commit order, each record chained to the previous one by a
// hash. It does not know what events mean: payloads are opaque.
//
// A record's hash is the SHA-256 of this array of seven elements in
// deterministic CBOR (RFC 8949, section 4.2.1):
//
//	[ position  unsigned integer
//	, time      integer, microseconds since 1970-01-01T00:00:00Z
//	, kind      text
//	, actor     text
//	, subject   text
//	, payload   bytes
//	, previous  bytes (32): the hash of the previous record, zeros for the first ]
//
// The encoding never changes: a log is permanent.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/database"
)

var (
	// ErrUnknownOutcome: the connection was lost during COMMIT. Only reading the
	// log shows whether the events were appended.
	ErrUnknownOutcome = database.ErrUnknownOutcome
	// ErrPastHead: the log has not reached the requested position.
	ErrPastHead = errors.New("the position is past the head of the event log")
	// ErrInvalidEvent: an event exceeds a limit.
	ErrInvalidEvent = errors.New("invalid event")
	// ErrBroken: the log in the database is not a chain from 1 to its head.
	ErrBroken = errors.New("the event log is broken")
	// ErrClosed: the Log was closed.
	ErrClosed = errors.New("the event log is closed")
)

// Event is the input of Append.
type Event struct {
	// Kind says what happened: v1.<noun>.<past participle>.
	Kind string
	// Actor says who did it; may be empty.
	Actor string
	// Subject says what it happened to; may be empty.
	Subject string
	// Payload is opaque. The log does not change it, and keeps no reference to the
	// slice but in the records that Append returns: it may have tens of megabytes.
	Payload []byte
	// Level is the level that a program needs to know such an event; see Knows.
	// Append raises the log's fence to it. It is not part of the record: a read
	// event has level 0.
	Level int
}

// Record is an event at its position in the log.
type Record struct {
	// Position from 1, without gaps, in commit order.
	Position uint64
	// Time in UTC, in whole microseconds; never before the Time of the previous record.
	Time time.Time
	Event
	// Previous is the Hash of the previous record; zeros for the first.
	Previous [32]byte
	// Hash of this record, see the package comment.
	Hash [32]byte
}

// Head is the end of a log.
type Head struct {
	// LogID is a UUID, created with the log.
	LogID string
	// Position and Hash of the last record; 0 and zeros if there is none.
	Position uint64
	Hash     [32]byte
}

// Apply folds a record into the views, in the transaction that appends it. An error
// undoes the command that the record belongs to. It must depend only on the record
// and the views, so that a rebuild gives the same rows.
type Apply func(ctx context.Context, tx database.Tx, rec Record) error

// Fold is Apply for records that follow each other.
type Fold func(ctx context.Context, tx database.Tx, records []Record) error

func oneByOne(apply Apply) Fold {
	return func(ctx context.Context, tx database.Tx, records []Record) error {
		if apply == nil {
			return nil
		}
		for _, record := range records {
			if err := apply(ctx, tx, record); err != nil {
				return fmt.Errorf("applying event %d (%s): %w", record.Position, record.Kind, err)
			}
		}
		return nil
	}
}

// Decide checks the preconditions of a command, under the lock of the head row, and
// returns the resulting events, which may be none. No other command can change what
// it reads until it is committed. It may be retried, so it must have no effect except
// through tx.
type Decide func(ctx context.Context, tx database.Tx) ([]Event, error)

func (e Event) validate() error {
	texts := []struct {
		name, value string
		max         int
	}{{"kind", e.Kind, MaxKindLength}, {"actor", e.Actor, MaxActorLength}, {"subject", e.Subject, MaxSubjectLength}}
	for _, text := range texts {
		if len(text.value) > text.max {
			return fmt.Errorf("%w: the %s is %d bytes long, at most %d are allowed", ErrInvalidEvent, text.name, len(text.value), text.max)
		}
		if !utf8.ValidString(text.value) || strings.ContainsRune(text.value, 0) {
			return fmt.Errorf("%w: the %s is not UTF-8 without NUL", ErrInvalidEvent, text.name)
		}
	}
	if e.Kind == "" {
		return fmt.Errorf("%w: the kind is empty", ErrInvalidEvent)
	}
	if len(e.Payload) > MaxPayloadBytes {
		return fmt.Errorf("%w: the payload is %d bytes long, at most %d are allowed", ErrInvalidEvent, len(e.Payload), MaxPayloadBytes)
	}
	return nil
}
