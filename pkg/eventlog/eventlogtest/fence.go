package eventlogtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// The first event of a higher level fences every program that knows less; until then both append.
func testFence(t *testing.T, address string) {
	db, old := Open(t, address)
	_, newer := openWith(t, address, Apply, time.Now, eventlog.Knows(2))
	raised := Event("b")
	raised.Level = 1
	appendEvents(t, newer, Event("a"))
	appendEvents(t, old, Event("a"))
	if err := errors.Join(old.Fenced(), old.CheckFence(t.Context())); err != nil {
		t.Errorf("fenced before there was anything that it does not know: %v", err)
	}

	// What fails raises nothing.
	if _, err := newer.Append(t.Context(), Always(raised, eventlog.Event{Kind: "test.unappliable"})); !errors.Is(err, errUnappliable) {
		t.Fatal(err)
	}
	appendEvents(t, old, Event("a"))
	if _, err := old.Append(t.Context(), Always(raised)); !errors.Is(err, eventlog.ErrInvalidEvent) {
		t.Errorf("an event above the log's own level: %v", err)
	}

	records := appendEvents(t, newer, raised)
	if read, err := newer.ReadOne(t.Context(), records[0].Position); err != nil || read.Level != records[0].Level {
		t.Errorf("read %+v, appended %+v: %v", read, records[0], err)
	}
	decided := false
	_, err := old.Append(t.Context(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
		decided = true
		return []eventlog.Event{Event("lost")}, nil
	})
	var fenced *eventlog.FencedError
	if !errors.As(err, &fenced) || *fenced != (eventlog.FencedError{Fence: 1, Known: 0}) || decided {
		t.Errorf("a fenced log decided: %v, and said %v", decided, err)
	}
	if !errors.Is(old.Fenced(), eventlog.ErrFenced) {
		t.Error("it does not know that it is fenced")
	}
	if _, err := eventlog.Open(t.Context(), db, Apply, time.Now); !errors.Is(err, eventlog.ErrFenced) {
		t.Errorf("opened behind the fence: %v", err)
	}
	_, third := openWith(t, address, Apply, time.Now, eventlog.Knows(1))
	appendEvents(t, third, raised)
	appendEvents(t, newer, Event("a"))
	verify(t, db, 6)

	// One that reads only learns of it, too.
	raised.Level = 2
	appendEvents(t, newer, raised)
	if err := third.CheckFence(t.Context()); !errors.Is(err, eventlog.ErrFenced) {
		t.Errorf("looked at the fence: %v", err)
	}
}

// The program of the first release knows no fence: its own statement is refused
// once there is one, and the fence of a log does not hinder it before.
func testFenceWithoutKnowing(t *testing.T, address string) {
	db, log := openWith(t, address, Apply, time.Now, eventlog.Knows(1))
	appendEvents(t, log, Event("a"))
	move := func(position int64) error {
		return db.Write(t.Context(), func(tx database.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "UPDATE log_head SET position = position WHERE id = 1"); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), "UPDATE log_head SET position = $1, time = $2, hash = $3 WHERE id = 1",
				position, time.Now().UnixMicro(), make([]byte, 32))
			return errors.Join(err, errUndo)
		})
	}
	if err := move(2); err == nil || err.Error() != errUndo.Error() {
		t.Fatalf("without a fence: %v", err)
	}
	raised := Event("b")
	raised.Level = 1
	appendEvents(t, log, raised)
	if err := move(3); err == nil || err.Error() == errUndo.Error() {
		t.Error("the head was moved past the fence")
	}
	verify(t, db, 2)
}

var errUndo = errors.New("undo")
