package reading

import (
	"context"
	"sync"

	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	// tailBytes of encoded events are held for followers; who is further behind reads the log.
	tailBytes = 2 << 20
	// tailStep is how many events one follower takes at a time: they stay in memory until it has told them.
	tailStep = 16
	// catchUpEvents is how many events a follower that is behind reads at a time.
	catchUpEvents = 100
)

// tail is the end of the log as it grows. It is read, described and encoded once,
// however many follow. It lasts from the first follower to the last.
type tail struct {
	followers int // of Reader.tails
	stop      context.CancelFunc

	mu     sync.Mutex
	events []registry.Event // consecutive, up to last
	last   uint64           // position up to which the log was read
	size   int              // of events, in bytes of their JSON
	err    error            // why reading ended
	news   chan struct{}    // closed and replaced when there is more
}

// join returns the tail, which begins after the head if nobody followed until now.
func (r *Reader) join(head uint64) *tail {
	r.tails.Lock()
	defer r.tails.Unlock()
	if r.tail == nil {
		t := &tail{last: head, news: make(chan struct{})}
		var ctx context.Context
		ctx, t.stop = context.WithCancel(context.Background())
		r.tail = t
		go r.read(ctx, t, head)
	}
	r.tail.followers++
	return r.tail
}

func (r *Reader) leave(t *tail) {
	r.tails.Lock()
	defer r.tails.Unlock()
	if t.followers--; t.followers > 0 {
		return
	}
	t.stop()
	if r.tail == t {
		r.tail = nil
	}
}

// read fills the tail until nobody follows or the log cannot be read.
func (r *Reader) read(ctx context.Context, t *tail, after uint64) {
	err := r.core.FollowCut(ctx, after, payloadCut, func(rec eventlog.Record) error {
		e, err := r.describeRecord(ctx, rec)
		if err != nil {
			return err
		}
		if e, err = e.EncodeOnce(); err != nil {
			return err
		}
		t.add(e)
		return nil
	})
	// Whoever joins from now on begins another tail.
	r.tails.Lock()
	if r.tail == t {
		r.tail = nil
	}
	r.tails.Unlock()
	t.end(err)
}

func (t *tail) add(e registry.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events, t.last = append(t.events, e), e.Position
	t.size += sizeOf(e)
	for t.size > tailBytes && len(t.events) > 1 {
		t.size -= sizeOf(t.events[0])
		t.events = t.events[1:]
	}
	t.wake()
}

func (t *tail) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
	t.wake()
}

func (t *tail) wake() {
	close(t.news)
	t.news = make(chan struct{})
}

// next returns events after the position; none means: wait for news. behind: the
// tail does not hold the next one any more.
func (t *tail) next(after uint64) (events []registry.Event, news <-chan struct{}, behind bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after >= t.last {
		return nil, t.news, false, t.err
	}
	held := uint64(len(t.events))
	if after+held < t.last {
		return nil, nil, true, nil
	}
	from := after + held - t.last
	return t.events[from:min(from+tailStep, held)], nil, false, nil
}

func sizeOf(e registry.Event) int {
	encoded, _ := e.JSON() // it was encoded before
	return len(encoded)
}
