// Package shares lends what is scarce in a process, in turns between those who
// want it.
//
// A holder is whoever shares are counted for: the identity of a token, or what
// package serving takes for it. A queue in order of arrival would belong to the
// holder who opens the most connections. Here the next turn is that of the holder
// who has the least in hand, and among equals of the one whose last turn is longest ago.
package shares

import (
	"context"
	"slices"
	"sync"
)

type holderKey struct{}

// WithHolder says for whom shares are taken in this context.
func WithHolder(ctx context.Context, holder string) context.Context {
	return context.WithValue(ctx, holderKey{}, holder)
}

// HolderOf returns the holder that WithHolder named, "" if none.
func HolderOf(ctx context.Context) string {
	holder, _ := ctx.Value(holderKey{}).(string)
	return holder
}

// Pool lends at most a fixed sum at a time, in whatever unit. All methods may be
// called concurrently.
type Pool struct {
	total int64

	mu      sync.Mutex
	lent    int64
	book    Book
	waiting []*waiter // in order of arrival
	crowded Crowd
}

type waiter struct {
	holder string
	n      int64
	ready  chan struct{} // closed when it has its share
}

// Share is what one call of Take got.
type Share struct {
	pool   *Pool
	holder string
	n      int64
	once   sync.Once
}

// New returns a Pool of total.
func New(total int64) *Pool {
	return &Pool{total: total, book: NewBook(total), crowded: NewCrowd()}
}

// Take waits for n, for the holder that the context names. Of an n larger than
// the pool it takes the whole pool. The error is the context's. A caller that
// has a share of a pool must not take another one of it: both could wait for good.
func (p *Pool) Take(ctx context.Context, n int64) (*Share, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &waiter{HolderOf(ctx), min(n, p.total), make(chan struct{})}
	share := &Share{pool: p, holder: w.holder, n: w.n}
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	p.serve()
	p.mu.Unlock()
	select {
	case <-w.ready:
		return share, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(p.waiting, w)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.serve() // who waited behind it may fit
	}
	p.mu.Unlock()
	if i < 0 { // it was served at the same moment
		share.Return()
	}
	return nil, ctx.Err()
}

// TryTake takes n if the holder may have it now and nobody waits; otherwise it returns nil.
func (p *Pool) TryTake(ctx context.Context, n int64) *Share {
	holder := HolderOf(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 || p.lent+n > p.total || !p.book.May(holder, n) {
		return nil
	}
	p.lent += n
	p.book.Lend(holder, n)
	return &Share{pool: p, holder: holder, n: n}
}

// Return gives the share back. Further calls do nothing, and neither do those on nil.
func (s *Share) Return() {
	if s == nil {
		return
	}
	s.once.Do(func() {
		p := s.pool
		p.mu.Lock()
		defer p.mu.Unlock()
		p.lent -= s.n
		p.book.Return(s.holder, s.n)
		p.serve()
	})
}

// Crowded returns a channel that is closed while somebody waits. It is another
// one each time that nobody does.
func (p *Pool) Crowded() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crowded.C()
}

// Starved reports whether somebody waits who has nothing.
func (p *Pool) Starved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.waiting, func(w *waiter) bool { return !p.book.Has(w.holder) })
}

// Lent returns how much is lent, and to how many.
func (p *Pool) Lent() (sum int64, holders int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lent, p.book.Holders()
}

// serve hands out shares as far as they go. mu is held.
func (p *Pool) serve() {
	for {
		i := Turn(&p.book, p.waiting, func(w *waiter) (string, int64, bool) { return w.holder, w.n, true })
		if i < 0 {
			break
		}
		w := p.waiting[i]
		if p.lent+w.n > p.total {
			break // those behind wait as well: a large share would never come otherwise
		}
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.lent += w.n
		p.book.Lend(w.holder, w.n)
		close(w.ready)
	}
	p.crowded.Set(len(p.waiting) > 0)
}
