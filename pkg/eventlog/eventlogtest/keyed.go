package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// testKeyed has commands share commits, of which each knows only its own key: those of one
// key see each other, a command without a key sees all, one that is refused leaves
// nothing, and one that cannot be folded takes no other with it.
func testKeyed(t *testing.T, address string) {
	var (
		mu    sync.Mutex
		folds int
		most  int
	)
	fold := func(ctx context.Context, tx database.Tx, records []eventlog.Record) error {
		mu.Lock()
		folds, most = folds+1, max(most, len(records))
		mu.Unlock()
		for _, record := range records {
			if err := Apply(ctx, tx, record); err != nil {
				return err
			}
		}
		return nil
	}
	db, log := openWith(t, address, nil, time.Now, eventlog.Folds(fold))
	const keys, rounds = 24, 5
	var (
		all      sync.WaitGroup
		appended = make([]int, keys) // by key; guarded by mu
		refused  = errors.New("refused")
	)
	eventsOf := func(ctx context.Context, tx database.Tx, subject string) (n int, err error) {
		err = tx.QueryRowContext(ctx, "SELECT COALESCE(SUM(events), 0) FROM subjects WHERE subject = $1", subject).Scan(&n)
		return n, err
	}
	for round := range rounds {
		begun, hold := make(chan struct{}), make(chan struct{})
		all.Go(func() { // those that arrive meanwhile share the next commit
			_, err := log.Append(t.Context(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
				close(begun)
				<-hold
				return nil, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-begun
		for twin := range 2 { // two of a key at once: the second sees the first
			for key := range keys {
				all.Go(func() {
					subject := fmt.Sprint("subject ", key)
					records, err := log.AppendKeyed(t.Context(), subject, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
						seen, err := eventsOf(ctx, tx, subject)
						if err != nil || seen > round { // the twin was first
							return nil, errors.Join(refused, err)
						}
						return []eventlog.Event{Event(subject)}, nil
					})
					switch {
					case err == nil && len(records) == 1:
						mu.Lock()
						appended[key]++
						mu.Unlock()
					case !errors.Is(err, refused):
						t.Errorf("%s, twin %d: %d records, %v", subject, twin, len(records), err)
					}
				})
			}
		}
		all.Go(func() { // sees every event of before
			_, err := log.Append(t.Context(), func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
				head, err := eventlog.HeadTx(ctx, tx)
				if err != nil {
					return nil, err
				}
				var folded uint64
				if err := tx.QueryRowContext(ctx, "SELECT COALESCE(SUM(events), 0) FROM subjects").Scan(&folded); err != nil || folded != head.Position {
					return nil, fmt.Errorf("the head is %d, %d are folded: %w", head.Position, folded, err)
				}
				return []eventlog.Event{Event("all")}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			_, err := log.AppendKeyed(t.Context(), "bad", Always(eventlog.Event{Kind: "test.unappliable", Subject: "bad"}))
			if !errors.Is(err, errUnappliable) {
				t.Errorf("a command that cannot be folded: %v", err)
			}
		})
		<-time.After(50 * time.Millisecond) // they wait: there is no other sign of that
		close(hold)
		all.Wait()
	}
	for key, n := range appended {
		if n != rounds {
			t.Errorf("%d appends of key %d, expected %d", n, key, rounds)
		}
	}
	verify(t, db, rounds*(keys+1))
	if most < 2 {
		t.Error("no two commands were folded together")
	}
	t.Logf("%d folds of at most %d records", folds, most)
}

// testKeyedOrder: in a shared commit, a command with a key sees what one without a key has
// decided before it.
func testKeyedOrder(t *testing.T, address string) {
	db, log := Open(t, address)
	begun, hold := make(chan struct{}), make(chan struct{})
	done := make(chan error, 3)
	appends := func(key string, decide eventlog.Decide) {
		go func() {
			_, err := log.AppendKeyed(t.Context(), key, decide)
			done <- err
		}()
		<-time.After(200 * time.Millisecond) // it waits: there is no other sign of that
	}
	appends("", func(context.Context, database.Tx) ([]eventlog.Event, error) {
		close(begun)
		<-hold
		return nil, nil
	})
	<-begun
	appends("", Always(Event("for everybody")))
	appends("a key", func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		var seen int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM subjects WHERE subject = 'for everybody'").Scan(&seen); err != nil || seen != 1 {
			return nil, fmt.Errorf("it sees %d of the event before it: %w", seen, err)
		}
		return []eventlog.Event{Event("a key")}, nil
	})
	close(hold)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	verify(t, db, 2)
}
