package shares

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func take(t *testing.T, p *Pool, holder string, n int64) *Share {
	t.Helper()
	ctx, cancel := context.WithTimeout(WithHolder(t.Context(), holder), 10*time.Second)
	defer cancel()
	share, err := p.Take(ctx, n)
	if err != nil {
		t.Fatalf("%s, %d: %v", holder, n, err)
	}
	return share
}

// The next turn is that of the holder who has the least, whoever came first.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(4)
		has := []*Share{take(t, p, "many", 1), take(t, p, "many", 1), take(t, p, "few", 1), take(t, p, "few", 1)}
		var (
			mu    sync.Mutex
			order []string
			wait  sync.WaitGroup
		)
		queue := func(holder string) {
			wait.Go(func() {
				share := take(t, p, holder, 1)
				mu.Lock()
				order = append(order, holder)
				mu.Unlock()
				time.Sleep(time.Second)
				share.Return()
			})
			synctest.Wait()
		}
		for range 3 {
			queue("many")
		}
		queue("few")
		queue("none")
		queue("none")
		has[0].Return() // many has 1, few 2: it is none's turn
		synctest.Wait()
		has[3].Return() // all have 1: it is the turn of the one that waited longest
		wait.Wait()
		if want := []string{"none", "many"}; !slices.Equal(order[:2], want) {
			t.Errorf("the order was %q, want %q first", order, want)
		}
		has[1].Return()
		has[2].Return()
		if sum, holders := p.Lent(); sum != 0 || holders != 0 {
			t.Errorf("%d are lent to %d holders at the end", sum, holders)
		}
	})
}

// One holder never has all of it, so that another one's turn does not depend on
// what the first one does with it.
func TestOneHolderLeavesSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(8)
		for range 6 {
			take(t, p, "many", 1)
		}
		ctx, cancel := context.WithTimeout(WithHolder(t.Context(), "many"), time.Second)
		defer cancel()
		if _, err := p.Take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a seventh of eight: %v", err)
		}
		take(t, p, "other", 2)
	})
}

// A share of more than there is takes everything, once it is free, and nobody
// passes it: it would never be its turn.
func TestTheWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(8)
		one := take(t, p, "a", 1)
		select {
		case <-p.Crowded():
			t.Error("nobody waits, and it is crowded")
		default:
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			all := take(t, p, "b", 100)
			if sum, _ := p.Lent(); sum != 8 {
				t.Errorf("%d are lent", sum)
			}
			all.Return()
		})
		synctest.Wait()
		select {
		case <-p.Crowded():
		default:
			t.Error("somebody waits, and it is not crowded")
		}
		ctx, cancel := context.WithTimeout(WithHolder(t.Context(), "c"), time.Second)
		defer cancel()
		if _, err := p.Take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that came later: %v", err)
		}
		one.Return()
		one.Return() // counts once
		wait.Wait()
		take(t, p, "a", 8).Return()
		if sum, _ := p.Lent(); sum != 0 {
			t.Errorf("%d are lent at the end", sum)
		}
	})
}

// Of holders that have as much, those take turns, however many requests of one came first.
func TestTurnsAmongEquals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		has := take(t, p, "many", 1)
		var (
			mu    sync.Mutex
			order []string
			wait  sync.WaitGroup
		)
		for _, holder := range []string{"many", "many", "many", "other", "other", "third"} {
			wait.Go(func() {
				share := take(t, p, holder, 1)
				mu.Lock()
				order = append(order, holder)
				mu.Unlock()
				time.Sleep(time.Second)
				share.Return()
			})
			synctest.Wait()
		}
		has.Return()
		wait.Wait()
		if want := []string{"other", "third", "many", "other", "many", "many"}; !slices.Equal(order, want) {
			t.Errorf("the order was %q, want %q", order, want)
		}
	})
}
