// Package eventlogtest holds the tests that an event log passes on every
// database engine, and a small view to check against the log.
package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// Run runs all tests. fresh returns the URL of a new, empty database, which
// the tests open several times, as several processes would.
func Run(t *testing.T, fresh func(t *testing.T) string) {
	for name, test := range map[string]func(t *testing.T, address string){
		"Append": testAppend, "Limits": testLimits, "LargePayload": testLargePayload, "Clock": testClock,
		"Concurrent": testConcurrent, "RejectedAlone": testRejectedAlone, "Preconditions": testPreconditions,
		"ApplyFails": testApplyFails, "Keyed": testKeyed, "KeyedOrder": testKeyedOrder, "Contexts": testContexts, "Close": testClose,
		"Read": testRead, "Follow": testFollow, "FollowOther": testFollowOther, "Check": testCheck,
		"Fence": testFence, "FenceWithoutKnowing": testFenceWithoutKnowing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

// Open opens the database and a log on it that keeps the view. Both are closed when the test ends.
func Open(t testing.TB, address string) (*database.DB, *eventlog.Log) {
	t.Helper()
	return openWith(t, address, Apply, time.Now)
}

func openWith(t testing.TB, address string, apply eventlog.Apply, now func() time.Time, options ...eventlog.Option) (*database.DB, *eventlog.Log) {
	t.Helper()
	db, err := database.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(t.Context(), db, apply, now, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return db, log
}

// Migrate creates the view's table.
func Migrate(ctx context.Context, db *database.DB) error {
	return db.Migrate(ctx, "eventlogtest", []string{
		"CREATE TABLE subjects (subject TEXT PRIMARY KEY, events BIGINT NOT NULL, last BIGINT NOT NULL)"})
}

// Apply counts the events of each subject. It fails for the kind "test.unappliable".
func Apply(ctx context.Context, tx database.Tx, record eventlog.Record) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO subjects (subject, events, last) VALUES ($1, 1, $2)
		ON CONFLICT (subject) DO UPDATE SET events = subjects.events + 1, last = excluded.last`, record.Subject, int64(record.Position))
	if err == nil && record.Kind == "test.unappliable" {
		err = errUnappliable
	}
	return err
}

var errUnappliable = errors.New("unappliable")

type row struct{ events, last uint64 }

// Verify checks in one snapshot that the log is a whole chain and the view is its fold, and returns the head.
func Verify(ctx context.Context, db *database.DB) (eventlog.Head, error) {
	var head eventlog.Head
	err := db.Read(ctx, func(tx database.Tx) (err error) {
		if head, err = eventlog.Check(ctx, tx); err != nil {
			return err
		}
		want := map[string]row{}
		for after := uint64(0); after < head.Position; {
			records, err := eventlog.ReadTx(ctx, tx, after, eventlog.MaxPage)
			if err != nil {
				return err
			}
			for _, record := range records {
				want[record.Subject] = row{want[record.Subject].events + 1, record.Position}
				after = record.Position
			}
		}
		got, err := view(ctx, tx)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("the view is %v, the log says %v", got, want)
		}
		return err
	})
	return head, err
}

func view(ctx context.Context, tx database.Tx) (map[string]row, error) {
	rows, err := tx.QueryContext(ctx, "SELECT subject, events, last FROM subjects")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	got := map[string]row{}
	for rows.Next() {
		var subject string
		var r row
		if err := rows.Scan(&subject, &r.events, &r.last); err != nil {
			return nil, err
		}
		got[subject] = r
	}
	return got, rows.Err()
}

func verify(t *testing.T, db *database.DB, position uint64) {
	t.Helper()
	head, err := Verify(t.Context(), db)
	if err != nil {
		t.Error(err)
	}
	if head.Position != position {
		t.Errorf("the head is %d, expected %d", head.Position, position)
	}
}

// Always is a Decide without preconditions.
func Always(events ...eventlog.Event) eventlog.Decide {
	return func(context.Context, database.Tx) ([]eventlog.Event, error) { return events, nil }
}

// Event makes an event about a subject.
func Event(subject string) eventlog.Event {
	return eventlog.Event{Kind: "test.happened", Actor: "a tester", Subject: subject, Payload: []byte("payload of " + subject)}
}

func appendEvents(t testing.TB, log *eventlog.Log, events ...eventlog.Event) []eventlog.Record {
	t.Helper()
	records, err := log.Append(t.Context(), Always(events...))
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// positions collects what several goroutines were answered.
type positions struct {
	sync.Mutex
	seen map[uint64]eventlog.Record
}

func (p *positions) add(t *testing.T, records []eventlog.Record) {
	p.Lock()
	defer p.Unlock()
	if p.seen == nil {
		p.seen = map[uint64]eventlog.Record{}
	}
	for _, record := range records {
		if _, twice := p.seen[record.Position]; twice {
			t.Errorf("position %d was given twice", record.Position)
		}
		p.seen[record.Position] = record
	}
}
