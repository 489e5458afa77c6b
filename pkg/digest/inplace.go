package digest

import (
	"io"
	"sync"
	"sync/atomic"
)

// InPlaceHasher computes both digests of buffers without copying them: a
// ParallelHasher for callers that hold their bytes in buffers anyway. It uses one
// goroutine per digest while there is something to hash, and none while its input
// pauses. It is for one caller at a time; the caller must call Close.
type InPlaceHasher struct {
	hasher     *Hasher
	sha, blake lane
	size       int64
	sum        Dual
	ended      bool
}

// shared is a buffer that both goroutines read; the last to finish calls done.
type shared struct {
	data []byte
	left *atomic.Int32
	done func()
}

// NewInPlaceHasher returns an empty InPlaceHasher.
func NewInPlaceHasher() *InPlaceHasher {
	h := &InPlaceHasher{hasher: NewHasher()}
	h.sha.open(h.hasher.sha256)
	h.blake.open(h.hasher.blake3)
	return h
}

// Add adds p to both digests. p must not change until done is called from another
// goroutine; done may be nil. Add waits while queueDepth buffers are not hashed yet.
func (h *InPlaceHasher) Add(p []byte, done func()) {
	h.size += int64(len(p))
	s := shared{p, new(atomic.Int32), done}
	s.left.Store(2)
	h.sha.add(s)
	h.blake.add(s)
}

// Sum ends the input and returns both digests. Add must not be called afterwards.
func (h *InPlaceHasher) Sum() Dual {
	h.Close()
	return h.sum
}

// Size returns the number of bytes added.
func (h *InPlaceHasher) Size() int64 { return h.size }

// Close waits until every buffer is hashed. It may be called more than once.
func (h *InPlaceHasher) Close() {
	if h.ended {
		return
	}
	h.ended = true
	h.sha.wait()
	h.blake.wait()
	h.sum = h.hasher.Sum()
}

// lane computes one digest, in a goroutine that ends when its queue is empty.
type lane struct {
	into io.Writer

	mu      sync.Mutex
	changed sync.Cond // signals that todo has become shorter, or running false
	todo    []shared  // at most queueDepth
	running bool
}

func (l *lane) open(into io.Writer) {
	l.into = into
	l.changed.L = &l.mu
}

func (l *lane) add(s shared) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.todo) == queueDepth {
		l.changed.Wait()
	}
	l.todo = append(l.todo, s)
	if !l.running {
		l.running = true
		go l.run()
	}
}

func (l *lane) run() {
	for {
		s, ok := l.next()
		if !ok {
			return
		}
		l.into.Write(s.data) //nolint:errcheck // hash.Hash never returns an error
		if s.left.Add(-1) == 0 && s.done != nil {
			s.done()
		}
	}
}

// next takes the next buffer; false means that there is none and the goroutine must end.
func (l *lane) next() (s shared, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Signal()
	if len(l.todo) == 0 {
		l.todo, l.running = nil, false
		return shared{}, false
	}
	s, l.todo = l.todo[0], l.todo[1:]
	return s, true
}

// wait returns when the goroutine has ended.
func (l *lane) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running {
		l.changed.Wait()
	}
}
