package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

func testRead(t *testing.T, address string) {
	_, log := Open(t, address)
	var events []eventlog.Event
	for n := range 25 {
		events = append(events, Event(fmt.Sprint(n)))
	}
	records := appendEvents(t, log, events...)
	for _, test := range []struct {
		after       uint64
		limit       int
		first, last uint64
	}{{0, 10, 1, 10}, {10, 10, 11, 20}, {20, 10, 21, 25}, {24, 1, 25, 25}, {0, 0, 1, 1}, {0, math.MaxInt, 1, 25}, {25, 10, 26, 25}} {
		page, err := log.Read(t.Context(), test.after, test.limit)
		if err != nil || uint64(len(page)) != test.last-test.first+1 {
			t.Errorf("%+v: %d records, %v", test, len(page), err)
			continue
		}
		for i, record := range page {
			if want := test.first + uint64(i); record.Position != want || record.Hash != records[want-1].Hash {
				t.Errorf("%+v: record %d is %d", test, i, record.Position)
			}
		}
	}
	for _, after := range []uint64{26, math.MaxInt64, math.MaxUint64} {
		if _, err := log.Read(t.Context(), after, 1); !errors.Is(err, eventlog.ErrPastHead) {
			t.Errorf("after %d: %v", after, err)
		}
		if err := log.Follow(t.Context(), after, func(eventlog.Record) error { return nil }); !errors.Is(err, eventlog.ErrPastHead) {
			t.Errorf("following after %d: %v", after, err)
		}
		if _, err := log.ReadOne(t.Context(), after); !errors.Is(err, eventlog.ErrPastHead) {
			t.Errorf("reading %d: %v", after, err)
		}
	}
	if _, err := log.ReadOne(t.Context(), 0); !errors.Is(err, eventlog.ErrPastHead) {
		t.Errorf("reading 0: %v", err)
	}
	if record, err := log.ReadOne(t.Context(), 25); err != nil || record.Hash != records[24].Hash {
		t.Errorf("reading 25: %+v, %v", record, err)
	}
}

// follow collects the positions that a follower sees until it has n, and fails if one is not the next.
func follow(ctx context.Context, log *eventlog.Log, after, n uint64) error {
	done := errors.New("done")
	err := log.Follow(ctx, after, func(record eventlog.Record) error {
		after++
		if record.Position != after {
			return fmt.Errorf("expected position %d, got %d", after, record.Position)
		}
		if after == n {
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		return nil
	}
	return err
}

func testFollow(t *testing.T, address string) {
	_, log := Open(t, address)
	appendEvents(t, log, Event("before"), Event("before"))
	const total = 60
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	results := make(chan error, 3)
	for _, after := range []uint64{0, 1, 2} {
		go func() { results <- follow(ctx, log, after, total) }()
	}
	for n := 2; n < total; n++ {
		appendEvents(t, log, Event(fmt.Sprint(n)))
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := log.Follow(ended, total, func(eventlog.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a follower whose context has ended: %v", err)
	}
}

// A follower in another process is not woken, and yet sees an append within about a second.
func testFollowOther(t *testing.T, address string) {
	_, log := Open(t, address)
	_, other := Open(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- follow(ctx, other, 0, 20) }()
	for n := range 20 {
		appendEvents(t, log, Event(fmt.Sprint(n)))
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// Whatever is changed behind the log's back is found.
func testCheck(t *testing.T, address string) {
	db, log := Open(t, address)
	for n := range 5 {
		appendEvents(t, log, Event(fmt.Sprint(n)))
	}
	verify(t, db, 5)
	for change, want := range map[string]string{
		"UPDATE events SET subject = 'x' WHERE position = 3":                                    "record 3",
		"UPDATE events SET time = time + 1 WHERE position = 5":                                  "record 5",
		"UPDATE events SET time = 1 WHERE position = 2":                                         "record 2 is older",
		"UPDATE events SET payload = previous WHERE position = 1":                               "record 1",
		"UPDATE events SET previous = hash WHERE position = 4":                                  "record 4",
		"DELETE FROM events WHERE position = 2":                                                 "after record 1 comes 3",
		"DELETE FROM events WHERE position = 5":                                                 "ends at 4",
		"DELETE FROM events":                                                                    "ends at 0",
		"UPDATE log_head SET position = 4":                                                      "outside",
		"UPDATE log_head SET hash = (SELECT hash FROM events WHERE position = 4)":               "head",
		"UPDATE log_head SET position = 4, hash = (SELECT hash FROM events WHERE position = 4)": "outside",
	} {
		undo := errors.New("undo")
		err := db.Write(t.Context(), func(tx database.Tx) error {
			if _, err := tx.ExecContext(t.Context(), change); err != nil {
				return err
			}
			_, err := eventlog.Check(t.Context(), tx)
			if !errors.Is(err, eventlog.ErrBroken) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", change, err)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Errorf("%s: %v", change, err)
		}
	}
	verify(t, db, 5)
}
