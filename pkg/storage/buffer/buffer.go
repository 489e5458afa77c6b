// Package buffer provides one budget of fixed-size buffers for a whole process: it
// bounds the memory of uploads, whatever the number of clients and the size of what
// they send.
//
// # Why waiting uploads cannot deadlock
//
// There are two sizes of buffers: those of the budget, which hold parts of large
// blobs, and a fixed number of small ones (Small), which hold blobs that fit in one,
// or pieces that are written to a disk as they arrive.
//
// Uploads wait for buffers of either size in turns between holders (package shares),
// those of one holder in order of request, and every upload follows one of these rules:
//
//   - It requests all its buffers at once (GetN), and requests no more until they
//     are returned.
//   - It requests more of the same size only if each buffer that it holds is on its
//     way to a server (or a disk, or a hash) by a worker that needs no further buffer
//     and returns it when done. A worker ends, because its requests have a timeout.
//   - It requests its first large buffer while it holds one small one, and no small
//     one while it holds a large one.
//
// The number of uploads that have begun at the server, which hold more than buffers,
// is limited: while many of them wait (manyBegun), uploads that have not begun (Begin)
// let them pass, and get their turn when some have ended.
//
// So a waiter for a large buffer waits for buffers that are returned without anyone
// needing another one of either size. A waiter for a small buffer waits for buffers
// that are returned by themselves, or after a large one was. There is no cycle.
// TryGetN never waits and may be called while holding anything.
//
// # What slow clients hold
//
// Before it requests a buffer while it holds none, an upload reads the first 4 KiB
// for it, or the end, into a little memory of its own (package intake): a client that
// has sent almost nothing holds nothing. A client that stalls later holds the buffer
// that it was filling until a caller ends it, as package serving does after its
// StallTimeout. While others wait, drivers ask a source that fills a buffer for
// LeastRate, so that one that drips gives it back. A small buffer is written to a disk
// as soon as its source pauses, so that a client holds one only while its bytes arrive.
//
// However many connections a holder opens, it has at most three quarters of the
// buffers, unless it needs more for one request, and the next one is of another holder
// who has fewer.
package buffer

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/coulomb/artifact-store/pkg/shares"
)

// Defaults for a container of 256 MiB.
const (
	DefaultTotal = 96 << 20
	DefaultEach  = 8 << 20
)

// Small buffers: 8 MiB in addition to the budget. Their number also bounds how many
// blobs that fit in one are in transit to servers at a time.
const (
	SmallEach  = 64 << 10
	SmallCount = 128
)

// LeastRate is what a source must bring that fills a buffer while others wait for
// one, in bytes per second: a slow line brings it, however many share it.
const LeastRate = 16 << 10

// Pool hands out buffers of one size, up to a fixed number at a time. All methods may
// be called concurrently.
type Pool struct {
	each  int
	count int

	mu      sync.Mutex
	free    [][]byte         // last in, first out: the warmest pages are reused
	out     int              // buffers in use
	book    shares.Book      // of these
	owners  map[*byte]string // first byte of each -> its holder
	waiting []*waiter        // in order of request
	number  [classes]int     // of waiters
	crowded shares.Crowd

	small *Pool // nil in the pool of small buffers
}

type waiter struct {
	holder string
	n      int
	class  class
	ready  chan [][]byte // has room for the one answer
}

// class is the kind of a request for buffers.
type class int

const (
	whole  class = iota // holds nothing, and requests all buffers that it needs
	begins              // will request more, and will then hold more than buffers
	begun               // requests more
	classes
)

// manyBegun is how many begun uploads may wait for a buffer before no more begin: 256
// hold about 6 MiB in addition to their buffers. With fewer large uploads at a time,
// none waits for another to end.
const manyBegun = 256

// New returns a Pool of total/each buffers of each bytes, at least one, plus the
// small ones. Memory is allocated when it is first needed, and then kept.
func New(total, each int64) *Pool {
	if each <= 0 {
		each = DefaultEach
	}
	p := newPool(int(each), int(max(1, total/each)))
	p.small = newPool(SmallEach, SmallCount)
	return p
}

func newPool(each, count int) *Pool {
	return &Pool{each: each, count: count, book: shares.NewBook(int64(count)), owners: map[*byte]string{}, crowded: shares.NewCrowd()}
}

// Default returns a Pool with the default sizes.
func Default() *Pool { return New(DefaultTotal, DefaultEach) }

// Small returns the pool of the small buffers.
func (p *Pool) Small() *Pool { return p.small }

// Each returns the size of one buffer in bytes.
func (p *Pool) Each() int64 { return int64(p.each) }

// Count returns the number of buffers.
func (p *Pool) Count() int { return p.count }

// InUse returns the number of buffers in use.
func (p *Pool) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out
}

// Waiting returns the number of requests that wait.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Get waits for one buffer, of Each bytes with arbitrary content. The error is the
// context's.
func (p *Pool) Get(ctx context.Context) ([]byte, error) {
	got, err := p.GetN(ctx, 1)
	if err != nil {
		return nil, err
	}
	return got[0], nil
}

// Crowded returns a channel that is closed while somebody waits. It is another one
// each time that nobody does.
func (p *Pool) Crowded() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crowded.C()
}

// GetN waits until n buffers are free at once and takes them, for the holder that the
// context names. The earlier requests of one holder come first, however many buffers
// they need. An n larger than Count is an immediate error.
func (p *Pool) GetN(ctx context.Context, n int) ([][]byte, error) { return p.get(ctx, n, whole) }

// Begin is GetN for the first buffers of an upload that will call More. It lets others
// pass while very many wait in More.
func (p *Pool) Begin(ctx context.Context, n int) ([][]byte, error) { return p.get(ctx, n, begins) }

// More is GetN for an upload that has had buffers from Begin or TryGetN.
func (p *Pool) More(ctx context.Context, n int) ([][]byte, error) { return p.get(ctx, n, begun) }

func (p *Pool) get(ctx context.Context, n int, class class) ([][]byte, error) {
	if n > p.count {
		return nil, fmt.Errorf("%d buffers of %d bytes requested, the budget has %d", n, p.each, p.count)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	holder := shares.HolderOf(ctx)
	p.mu.Lock()
	if got := p.tryTake(holder, n); got != nil {
		p.mu.Unlock()
		return got, nil
	}
	w := &waiter{holder, n, class, make(chan [][]byte, 1)}
	p.waiting = append(p.waiting, w)
	p.number[class]++
	p.serve() // those that wait may have as much as they may have
	p.mu.Unlock()

	select {
	case got := <-w.ready:
		return got, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.leave(i)
		// A waiter behind w may fit where w did not.
		p.serve()
		p.mu.Unlock()
		return nil, ctx.Err()
	}
	p.mu.Unlock()
	// w was served at the same moment: return everything.
	p.PutN(<-w.ready)
	return nil, ctx.Err()
}

// TryGetN takes n buffers if the holder may have them now and nobody waits; otherwise
// it returns nil.
func (p *Pool) TryGetN(ctx context.Context, n int) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tryTake(shares.HolderOf(ctx), n)
}

func (p *Pool) tryTake(holder string, n int) [][]byte {
	if len(p.waiting) > 0 || p.out+n > p.count || !p.book.May(holder, int64(n)) {
		return nil
	}
	return p.take(holder, n)
}

// Put returns a buffer to the pool. The caller must not use it afterwards.
func (p *Pool) Put(buf []byte) {
	if cap(buf) < p.each {
		panic("buffer: Put of a buffer that is not from Get")
	}
	buf = buf[:p.each]
	p.mu.Lock()
	defer p.mu.Unlock()
	holder, known := p.owners[&buf[0]]
	if !known {
		panic("buffer: Put of a buffer that is not lent")
	}
	delete(p.owners, &buf[0])
	p.book.Return(holder, 1)
	p.free = append(p.free, buf)
	p.out--
	p.serve()
}

// PutN returns several buffers to the pool.
func (p *Pool) PutN(bufs [][]byte) {
	for _, buf := range bufs {
		p.Put(buf)
	}
}

// take hands out n buffers, which must be available. mu is held.
func (p *Pool) take(holder string, n int) [][]byte {
	p.out += n
	p.book.Lend(holder, int64(n))
	got := make([][]byte, 0, n)
	for range n {
		if last := len(p.free) - 1; last >= 0 {
			got = append(got, p.free[last])
			p.free = p.free[:last]
		} else {
			got = append(got, make([]byte, p.each))
		}
		p.owners[&got[len(got)-1][0]] = holder
	}
	return got
}

// serve answers those whose turn it is, as far as the budget allows. mu is held.
func (p *Pool) serve() {
	for {
		i := shares.Turn(&p.book, p.waiting, p.wants)
		if i < 0 {
			break
		}
		w := p.waiting[i]
		if p.out+w.n > p.count {
			break
		}
		p.leave(i)
		w.ready <- p.take(w.holder, w.n)
	}
	p.crowded.Set(len(p.waiting) > 0)
}

// wants is how package shares sees a waiter. mu is held.
func (p *Pool) wants(w *waiter) (holder string, n int64, may bool) {
	return w.holder, int64(w.n), w.class != begins || p.number[begun] < manyBegun
}

// leave removes the i-th waiter from the queue. mu is held.
func (p *Pool) leave(i int) {
	p.number[p.waiting[i].class]--
	p.waiting = slices.Delete(p.waiting, i, i+1)
}
