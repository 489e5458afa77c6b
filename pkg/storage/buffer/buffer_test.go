package buffer_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	p := buffer.New(10<<10, 4<<10)
	if p.Count() != 2 || p.Each() != 4<<10 {
		t.Fatalf("%d buffers of %d", p.Count(), p.Each())
	}
	a, err := p.Get(t.Context())
	if err != nil || len(a) != 4<<10 {
		t.Fatalf("%d bytes, %v", len(a), err)
	}
	if _, err := p.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.TryGetN(t.Context(), 1) != nil || p.InUse() != 2 {
		t.Error("more was given than the budget has")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get of a spent budget: %v", err)
	}
	p.Put(a[:10]) // a shorter slice is the same buffer
	if again := p.TryGetN(t.Context(), 1); len(again) != 1 || len(again[0]) != 4<<10 {
		t.Errorf("given back and not given out: %d", len(again))
	}
	if _, err := p.GetN(t.Context(), 3); err == nil {
		t.Error("more than the whole budget was promised")
	}
	if buffer.New(1, 4<<10).Count() != 1 {
		t.Error("a Pool without any buffer")
	}
}

// waitFor polls with a deadline.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestOrder: a waiter for many buffers is not overtaken for ever by waiters for few.
func TestOrder(t *testing.T) {
	t.Parallel()
	p := buffer.New(2, 1)
	first, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan [][]byte, 1)
	go func() {
		bufs, err := p.GetN(t.Context(), 2)
		if err != nil {
			t.Error(err)
		}
		got <- bufs
	}()
	// One buffer is free, but once the other waits, it is not for a newcomer.
	waitFor(t, "the large request to queue", func() bool {
		taken := p.TryGetN(t.Context(), 1)
		if taken == nil {
			return true
		}
		p.PutN(taken)
		return false
	})
	p.Put(first)
	if bufs := <-got; len(bufs) != 2 {
		t.Errorf("got %d", len(bufs))
	}
}

// TestCancelled: a cancelled waiter lets those behind it pass, and loses no buffer.
func TestCancelled(t *testing.T) {
	t.Parallel()
	p := buffer.New(2, 1)
	held, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	large, small := make(chan error, 1), make(chan error, 1)
	go func() { _, err := p.GetN(ctx, 2); large <- err }()
	waitFor(t, "the large request to queue", func() bool {
		taken := p.TryGetN(t.Context(), 1)
		if taken != nil {
			p.PutN(taken)
		}
		return taken == nil
	})
	go func() { _, err := p.Get(t.Context()); small <- err }()
	cancel()
	if err := <-large; !errors.Is(err, context.Canceled) {
		t.Errorf("the large request: %v", err)
	}
	if err := <-small; err != nil {
		t.Errorf("the small one behind it: %v", err)
	}
	p.Put(held)
	if p.InUse() != 1 {
		t.Errorf("%d in use", p.InUse())
	}
}

// TestCrowd: many uploads of both kinds, some of them cancelled, all finish, and never
// use more than the budget.
func TestCrowd(t *testing.T) {
	t.Parallel()
	p := buffer.New(5, 1)
	var (
		all  sync.WaitGroup
		out  atomic.Int64
		most atomic.Int64
	)
	for i := range 64 {
		all.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%4 == 0 {
					go cancel()
				}
				n := 1 + i%5
				bufs, err := p.GetN(ctx, n)
				cancel()
				if err != nil {
					continue
				}
				now := out.Add(int64(n))
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				runtime.Gosched()
				out.Add(-int64(n))
				p.PutN(bufs)
			}
		})
	}
	all.Wait()
	if most.Load() > 5 || most.Load() == 0 {
		t.Errorf("%d at once", most.Load())
	}
	if p.InUse() != 0 {
		t.Errorf("%d never came back", p.InUse())
	}
}

// TestManyLargeUploads: of a thousand uploads that arrive together and need buffer
// after buffer, only some begin before others have ended. All finish, including those
// that need only one buffer.
func TestManyLargeUploads(t *testing.T) {
	t.Parallel()
	const uploads, parts, others, many = 1000, 6, 100, 256
	p := buffer.New(2, 1)
	var (
		all         sync.WaitGroup
		begun, most atomic.Int64
	)
	held, err := p.GetN(t.Context(), 2) // until nearly everyone waits
	if err != nil {
		t.Fatal(err)
	}
	for range uploads {
		all.Go(func() {
			get := p.Begin
			for nth := range parts {
				bufs, err := get(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				if get = p.More; nth == 0 {
					now := begun.Add(1)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
				}
				// Like a worker that has sent it.
				go func() { runtime.Gosched(); p.PutN(bufs) }()
			}
			begun.Add(-1)
		})
	}
	for range others {
		all.Go(func() {
			buf, err := p.Get(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			runtime.Gosched()
			p.Put(buf)
		})
	}
	p.PutN(held)
	all.Wait()
	waitFor(t, "the last buffer to come back", func() bool { return p.InUse() == 0 })
	if got := most.Load(); got < many || got >= uploads/2 {
		t.Errorf("%d begun at once; %d may wait for more, and some have what they waited for", got, many)
	}
}

// TestHolders: one holder gets no more than three quarters by several requests, and
// the next buffer is of the holder who has the least.
func TestHolders(t *testing.T) {
	t.Parallel()
	p := buffer.New(8, 1)
	many, few := shares.WithHolder(t.Context(), "many"), shares.WithHolder(t.Context(), "few")
	var has [][]byte
	for range 6 {
		buf, err := p.Get(many)
		if err != nil {
			t.Fatal(err)
		}
		has = append(has, buf)
	}
	if p.TryGetN(many, 1) != nil {
		t.Error("a seventh of eight")
	}
	got := make(chan string, 3)
	wait := func(ctx context.Context, n int) {
		go func() {
			if _, err := p.GetN(ctx, n); err != nil {
				t.Error(err)
			}
			got <- shares.HolderOf(ctx)
		}()
		waitFor(t, "a request to queue", func() bool { return p.Waiting() > 0 })
	}
	wait(many, 1)
	select {
	case <-p.Crowded():
	default:
		t.Error("somebody waits, and it is not crowded")
	}
	if _, err := p.GetN(few, 2); err != nil { // passes those of many
		t.Fatal(err)
	}
	before := p.Waiting()
	go wait(few, 1)
	waitFor(t, "few to queue", func() bool { return p.Waiting() > before })
	p.Put(has[0])
	if first := <-got; first != "few" {
		t.Errorf("the first is %s", first)
	}
	p.Put(has[1])
	if second := <-got; second != "many" {
		t.Errorf("the second is %s", second)
	}
	select {
	case <-p.Crowded():
		t.Error("nobody waits, and it is crowded")
	default:
	}
	p.Put(has[2])
	defer func() {
		if recover() == nil {
			t.Error("a buffer was given back twice")
		}
	}()
	p.Put(has[2])
}
