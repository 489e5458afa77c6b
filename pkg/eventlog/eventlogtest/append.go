package eventlogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

func testAppend(t *testing.T, address string) {
	db, log := Open(t, address)
	head, err := log.Head(t.Context())
	if err != nil || head.LogID != log.ID() || len(head.LogID) != 36 || head.Position != 0 || head.Hash != [32]byte{} {
		t.Fatalf("the head of a new log: %+v, %v", head, err)
	}
	verify(t, db, 0)
	if records := appendEvents(t, log); len(records) != 0 {
		t.Errorf("no events gave %d records", len(records))
	}
	before := time.Now().Truncate(time.Microsecond)
	records := appendEvents(t, log, Event("a"), Event("b"), eventlog.Event{Kind: "test.bare"})
	for i, record := range records {
		if record.Position != uint64(i+1) || record.Time.Before(before) || record.Time.After(time.Now()) || record.Time.Location() != time.UTC {
			t.Errorf("record %d: %+v", i, record)
		}
	}
	verify(t, db, 3)

	// Another process, and the same log after a restart.
	other, again := Open(t, address)
	if again.ID() != log.ID() {
		t.Errorf("the log's id changed from %s to %s", log.ID(), again.ID())
	}
	records = append(records, appendEvents(t, again, Event("a"))...)
	verify(t, other, 4)
	read, err := log.Read(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range read {
		if len(read[i].Payload) == 0 {
			read[i].Payload = []byte{} // nil or not is the engine's
		}
	}
	if !reflect.DeepEqual(read, records) {
		t.Errorf("appended %+v\nread     %+v", records, read)
	}
}

func testLimits(t *testing.T, address string) {
	db, log := Open(t, address)
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, event := range map[string]eventlog.Event{
		"no kind":      {},
		"long kind":    {Kind: long(eventlog.MaxKindLength + 1)},
		"long actor":   {Kind: "k", Actor: long(eventlog.MaxActorLength + 1)},
		"long subject": {Kind: "k", Subject: long(eventlog.MaxSubjectLength + 1)},
		"NUL":          {Kind: "k", Subject: "a\x00b"},
		"not UTF-8":    {Kind: "k", Actor: "a\xffb"},
		"long payload": {Kind: "k", Payload: make([]byte, eventlog.MaxPayloadBytes+1)},
	} {
		if _, err := log.Append(t.Context(), Always(Event("a"), event)); !errors.Is(err, eventlog.ErrInvalidEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]eventlog.Event, eventlog.MaxEventsPerCommand+1)
	if _, err := log.Append(t.Context(), Always(many...)); !errors.Is(err, eventlog.ErrInvalidEvent) {
		t.Errorf("too many events: %v", err)
	}
	verify(t, db, 0)
	appendEvents(t, log, eventlog.Event{
		Kind: long(eventlog.MaxKindLength), Actor: long(eventlog.MaxActorLength), Subject: long(eventlog.MaxSubjectLength)})
	verify(t, db, 1)
}

func testLargePayload(t *testing.T, address string) {
	db, log := Open(t, address)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	for n := range 3 {
		event := Event(fmt.Sprint(n))
		event.Payload = payload
		appendEvents(t, log, event)
	}
	verify(t, db, 3)
	records, err := log.Read(t.Context(), 0, 10)
	if err != nil || len(records) != 1 || !bytes.Equal(records[0].Payload, payload) {
		t.Errorf("a page of %d records, expected 1, which is whole: %v", len(records), err)
	}
}

func testClock(t *testing.T, address string) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 1999, time.FixedZone("", 3600))
	db, log := openWith(t, address, Apply, func() time.Time { return now })
	first := appendEvents(t, log, Event("a"))[0]
	if want := time.Date(2029, 12, 31, 23, 0, 0, 1000, time.UTC); first.Time != want {
		t.Errorf("the time is %s, expected %s", first.Time, want)
	}
	now = now.Add(-time.Hour)
	if second := appendEvents(t, log, Event("a"))[0]; second.Time != first.Time {
		t.Errorf("after %s comes %s", first.Time, second.Time)
	}
	verify(t, db, 2)
}

func testConcurrent(t *testing.T, address string) {
	db, first := Open(t, address)
	_, second := Open(t, address)
	const workers, each = 8, 15
	var answered positions
	var all sync.WaitGroup
	for worker := range workers {
		log := []*eventlog.Log{first, second}[worker%2]
		all.Go(func() {
			for n := range each {
				subject := fmt.Sprintf("worker %d", worker)
				records, err := log.Append(t.Context(), Always(Event(subject), Event(fmt.Sprint(n))))
				if err != nil {
					t.Error(err)
					return
				}
				if len(records) != 2 || records[1].Position != records[0].Position+1 || records[1].Previous != records[0].Hash {
					t.Errorf("one command's records are not consecutive: %+v", records)
				}
				answered.add(t, records)
			}
		})
	}
	all.Wait()
	const total = workers * each * 2
	verify(t, db, total)
	if len(answered.seen) != total {
		t.Errorf("%d records were answered, expected %d", len(answered.seen), total)
	}
	for position, record := range answered.seen {
		if read, err := second.ReadOne(t.Context(), position); err != nil || read.Hash != record.Hash {
			t.Errorf("record %d is not what was answered: %v", position, err)
		}
	}
}

func testRejectedAlone(t *testing.T, address string) {
	db, log := Open(t, address)
	rejected := errors.New("rejected")
	const commands = 100
	var all sync.WaitGroup
	for n := range commands {
		all.Go(func() {
			records, err := log.Append(t.Context(), func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
				if n%2 == 0 {
					return []eventlog.Event{Event("good")}, nil
				}
				// Its own writes go with it, and on PostgreSQL a failed statement must not spoil the rest.
				if _, err := tx.ExecContext(ctx, "INSERT INTO subjects (subject, events, last) VALUES ($1, 7, 7)", fmt.Sprint("bad ", n)); err != nil {
					return nil, err
				}
				switch n % 10 {
				case 1:
					return nil, rejected
				case 3:
					_, err := tx.ExecContext(ctx, "SELECT nonsense")
					return nil, err
				case 5:
					panic("a bug")
				case 7:
					return []eventlog.Event{Event("bad"), {Kind: "test.unappliable", Subject: "bad"}}, nil
				default:
					return []eventlog.Event{Event("bad"), {}}, nil
				}
			})
			if (err == nil) != (n%2 == 0) || (err == nil) != (len(records) == 1) || errors.Is(err, rejected) != (n%10 == 1) {
				t.Errorf("command %d: %d records, %v", n, len(records), err)
			}
		})
	}
	all.Wait()
	verify(t, db, commands/2)
}

// "This name is not taken yet" holds among concurrent commands of two processes: one of each name wins.
func testPreconditions(t *testing.T, address string) {
	db, first := Open(t, address)
	_, second := Open(t, address)
	taken := errors.New("taken")
	const names, rivals = 10, 6
	var mu sync.Mutex
	won := map[string]int{}
	var all sync.WaitGroup
	for rival := range rivals {
		log := []*eventlog.Log{first, second}[rival%2]
		all.Go(func() {
			for n := range names {
				name := fmt.Sprint("name ", n)
				_, err := log.Append(t.Context(), func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
					var count int
					if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM subjects WHERE subject = $1", name).Scan(&count); err != nil {
						return nil, err
					}
					if count > 0 {
						return nil, taken
					}
					return []eventlog.Event{Event(name)}, nil
				})
				if err == nil {
					mu.Lock()
					won[name]++
					mu.Unlock()
				} else if !errors.Is(err, taken) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	verify(t, db, names)
	for name, count := range won {
		if count != 1 {
			t.Errorf("%s was won %d times", name, count)
		}
	}
}

func testApplyFails(t *testing.T, address string) {
	db, log := Open(t, address)
	_, err := log.Append(t.Context(), Always(Event("a"), eventlog.Event{Kind: "test.unappliable", Subject: "b"}))
	if !errors.Is(err, errUnappliable) {
		t.Errorf("the error of Apply became %v", err)
	}
	verify(t, db, 0)
}

func testContexts(t *testing.T, address string) {
	db, log := Open(t, address)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := log.Append(ended, Always(Event("ended"))); !errors.Is(err, context.Canceled) {
		t.Errorf("a command that came too late: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := log.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		cancel()
		return []eventlog.Event{Event("begun")}, ctx.Err()
	})
	if err != nil {
		t.Errorf("a command that had begun: %v", err)
	}
	verify(t, db, 1)
}

func testClose(t *testing.T, address string) {
	db, log := Open(t, address)
	begun, release := make(chan struct{}), make(chan struct{})
	answered := make(chan error, 1)
	go func() {
		_, err := log.Append(t.Context(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
			close(begun)
			<-release
			return []eventlog.Event{Event("a")}, nil
		})
		answered <- err
	}()
	<-begun
	closed := make(chan struct{})
	go func() { _ = log.Close(); close(closed) }()
	for refused := false; !refused; { // Close has begun when it refuses, or waits for a command that came before
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := log.Append(ctx, Always(Event("late")))
		cancel()
		refused = errors.Is(err, eventlog.ErrClosed)
	}
	select {
	case <-closed:
		t.Error("Close did not wait for the command under way")
	default:
	}
	close(release)
	<-closed
	if err := <-answered; err != nil {
		t.Errorf("the command under way: %v", err)
	}
	verify(t, db, 1)
}
