package digest

import (
	"io"
	"sync"
	"sync/atomic"
)

// InPlaceHasher computes both digests of buffers that it reads where they are:
// what a ParallelHasher does, less the copy, for callers that hold their bytes
// in buffers anyway. One goroutine for each digest. For one caller at a time;
// Close must be called.
type InPlaceHasher struct {
	hasher *Hasher
	sha    chan shared
	blake  chan shared
	done   sync.WaitGroup
	size   int64
	sum    Dual
	ended  bool
}

// shared is a buffer that both goroutines read; the last to finish says so.
type shared struct {
	data []byte
	left *atomic.Int32
	done func()
}

// NewInPlaceHasher returns an empty InPlaceHasher. Its goroutines start with
// the first Add.
func NewInPlaceHasher() *InPlaceHasher { return &InPlaceHasher{hasher: NewHasher()} }

// Add adds p to both digests. p must not change until done is called, from
// another goroutine; done may be nil. Add waits while queueDepth buffers are
// not hashed yet.
func (h *InPlaceHasher) Add(p []byte, done func()) {
	h.size += int64(len(p))
	if h.sha == nil {
		h.sha, h.blake = make(chan shared, queueDepth), make(chan shared, queueDepth)
		h.done.Add(2)
		go h.run(h.sha, h.hasher.sha256)
		go h.run(h.blake, h.hasher.blake3)
	}
	s := shared{p, new(atomic.Int32), done}
	s.left.Store(2)
	h.sha <- s
	h.blake <- s
}

func (h *InPlaceHasher) run(in <-chan shared, into io.Writer) {
	defer h.done.Done()
	for s := range in {
		into.Write(s.data) //nolint:errcheck // hash.Hash never returns an error
		if s.left.Add(-1) == 0 && s.done != nil {
			s.done()
		}
	}
}

// Sum ends the input and returns both digests. Nothing may be added after.
func (h *InPlaceHasher) Sum() Dual {
	h.Close()
	return h.sum
}

// Size returns how many bytes were added.
func (h *InPlaceHasher) Size() int64 { return h.size }

// Close waits until every buffer is hashed, and ends the goroutines. It may be
// called more than once.
func (h *InPlaceHasher) Close() {
	if h.ended {
		return
	}
	h.ended = true
	if h.sha != nil {
		close(h.sha)
		close(h.blake)
		h.done.Wait()
	}
	h.sum = h.hasher.Sum()
}
