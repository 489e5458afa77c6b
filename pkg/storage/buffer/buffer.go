// Package buffer provides one budget of fixed-size buffers for a whole
// process: what uploads hold in memory is bounded by it, whatever the number
// of clients and the size of what they send.
//
// # Why waiting uploads cannot lock each other out
//
// There are two sizes: those of the budget, which hold parts of large blobs, and
// a fixed number of small ones (Small), in which blobs lie that need no more, or
// pieces of what goes to a disk as it comes.
//
// Uploads wait for buffers of either size in the order in which they asked, and
// every upload keeps one of these habits:
//
//   - It asks once, for all that it will hold (GetN), and asks for nothing
//     more until that is returned.
//   - It asks for more of the same size only when each buffer that it holds is
//     on its way to a server (or a disk, or a hash) by a worker that needs no
//     further buffer and returns it when done. A worker ends, because its
//     requests have a time-out.
//   - It asks for its first large one while it holds one small one, and for no
//     small one while it holds a large one.
//
// Uploads that were begun at the server, and so have more than buffers to give
// back, do not become ever more: while many of them wait (manyBegun), those that
// would only begin (Begin) let them pass. They get their turn when some have ended.
//
// So whoever waits for a large buffer waits for some that come back without
// anyone's needing another one of either size; whoever waits for a small one,
// for some that come back by themselves or once a large one did: there is no
// cycle. TryGetN never waits and may be called holding anything.
//
// # What slow clients hold
//
// Before it asks for a buffer while it holds none, an upload reads the first
// 4 KiB that are to lie in it, or the end, into a little memory of its own
// (package intake): a client that has sent next to nothing holds nothing. One
// that stalls later holds the buffer that it was filling until something above
// ends it, as package httpapi does after its StallTimeout. To a disk a small
// buffer is written as soon as its source pauses, so that a client holds one only
// while its bytes come.
package buffer

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Defaults for a container of 256 MiB.
const (
	DefaultTotal = 96 << 20
	DefaultEach  = 8 << 20
)

// Small buffers: 8 MiB beside the budget. Their number is also how many blobs
// that fit in one are on their way to servers at a time.
const (
	SmallEach  = 64 << 10
	SmallCount = 128
)

// Pool hands out buffers of one size, at most a fixed number at a time. All
// methods may be called concurrently.
type Pool struct {
	each  int
	count int

	mu      sync.Mutex
	free    [][]byte // last in, first out: the warmest pages are used again
	out     int      // buffers that are handed out
	waiting []*waiter
	number  [classes]int // of those who wait

	small *Pool // nil in one of small buffers
}

type waiter struct {
	n     int
	class class
	ready chan [][]byte // has room for the one answer
}

// class of what asks for buffers.
type class int

const (
	whole  class = iota // holds nothing else, and all buffers that it will need
	begins              // will ask for more, and holds more than buffers then
	begun               // asks for more
	classes
)

// manyBegun is how many uploads that were begun may wait for a buffer before no
// more are begun: 256 hold some 6 MiB beside their buffers, and others wait for
// no upload to end before so many large ones come at once.
const manyBegun = 256

// New returns a Pool of total/each buffers of each bytes, at least one, and the
// small ones beside it. Memory is taken when it is first needed and then kept.
func New(total, each int64) *Pool {
	if each <= 0 {
		each = DefaultEach
	}
	return &Pool{each: int(each), count: int(max(1, total/each)), small: &Pool{each: SmallEach, count: SmallCount}}
}

// Default returns a Pool with the default sizes.
func Default() *Pool { return New(DefaultTotal, DefaultEach) }

// Small returns the pool of the small buffers.
func (p *Pool) Small() *Pool { return p.small }

// Each returns the size of one buffer in bytes.
func (p *Pool) Each() int64 { return int64(p.each) }

// Count returns how many buffers there are.
func (p *Pool) Count() int { return p.count }

// InUse returns how many buffers are handed out now.
func (p *Pool) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out
}

// Get waits for one buffer, of Each bytes with any content. The error is the
// context's.
func (p *Pool) Get(ctx context.Context) ([]byte, error) {
	got, err := p.GetN(ctx, 1)
	if err != nil {
		return nil, err
	}
	return got[0], nil
}

// GetN waits until n buffers are free at once and takes them; those who asked
// earlier come first, however much they want. An n beyond Count is an error at
// once.
func (p *Pool) GetN(ctx context.Context, n int) ([][]byte, error) { return p.get(ctx, n, whole) }

// Begin is GetN for the first buffers of an upload that will ask for More. It
// lets others pass while very many wait for More.
func (p *Pool) Begin(ctx context.Context, n int) ([][]byte, error) { return p.get(ctx, n, begins) }

// More is GetN for an upload that had buffers from Begin, or from TryGetN.
func (p *Pool) More(ctx context.Context, n int) ([][]byte, error) { return p.get(ctx, n, begun) }

func (p *Pool) get(ctx context.Context, n int, class class) ([][]byte, error) {
	if n > p.count {
		return nil, fmt.Errorf("%d buffers of %d bytes wanted, the budget has %d", n, p.each, p.count)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if len(p.waiting) == 0 && p.out+n <= p.count {
		got := p.take(n)
		p.mu.Unlock()
		return got, nil
	}
	w := &waiter{n, class, make(chan [][]byte, 1)}
	p.waiting = append(p.waiting, w)
	p.number[class]++
	p.mu.Unlock()

	select {
	case got := <-w.ready:
		return got, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.leave(i)
		// Whoever stood behind may fit where w did not.
		p.serve()
		p.mu.Unlock()
		return nil, ctx.Err()
	}
	p.mu.Unlock()
	// It was served in the same moment: give everything back.
	p.PutN(<-w.ready)
	return nil, ctx.Err()
}

// TryGetN takes n buffers if they are free and nobody waits; else nil.
func (p *Pool) TryGetN(n int) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 || p.out+n > p.count {
		return nil
	}
	return p.take(n)
}

// Put returns a buffer. It must not be used afterwards.
func (p *Pool) Put(buf []byte) {
	if cap(buf) < p.each {
		panic("buffer: Put of what Get did not give")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, buf[:p.each])
	p.out--
	p.serve()
}

// PutN returns several buffers.
func (p *Pool) PutN(bufs [][]byte) {
	for _, buf := range bufs {
		p.Put(buf)
	}
}

// take hands out n buffers that the budget has room for. mu is held.
func (p *Pool) take(n int) [][]byte {
	p.out += n
	got := make([][]byte, 0, n)
	for range n {
		if last := len(p.free) - 1; last >= 0 {
			got = append(got, p.free[last])
			p.free = p.free[:last]
		} else {
			got = append(got, make([]byte, p.each))
		}
	}
	return got
}

// serve answers waiters in order, as far as the budget goes. mu is held.
func (p *Pool) serve() {
	for len(p.waiting) > 0 {
		i := p.next()
		w := p.waiting[i]
		if p.out+w.n > p.count {
			return
		}
		p.leave(i)
		w.ready <- p.take(w.n)
	}
}

// next returns whose turn it is. Somebody waits, mu is held.
func (p *Pool) next() int {
	if p.number[begun] < manyBegun {
		return 0
	}
	return slices.IndexFunc(p.waiting, func(w *waiter) bool { return w.class != begins })
}

// leave takes the i-th waiter out of the queue. mu is held.
func (p *Pool) leave(i int) {
	p.number[p.waiting[i].class]--
	p.waiting = slices.Delete(p.waiting, i, i+1)
}
