package digest

import (
	"io"
	"sync"
	"sync/atomic"
)

const (
	// blockSize is what one goroutine hands to another at a time: large
	// enough that the hand-over (about 1 microsecond) costs under 1 %.
	blockSize = 256 << 10
	// parallelFrom is the size from which two goroutines beat one: below it
	// everything stays on the caller's.
	parallelFrom = 2 * blockSize
	// queueDepth lets the faster hash run ahead; measured, 4 is where the
	// gain ends.
	queueDepth = 4
)

// block is a buffer shared by the two hashing goroutines; the last to finish
// returns it.
type block struct {
	data []byte
	left atomic.Int32 // hashes that have yet to read data
}

var blocks = sync.Pool{New: func() any { return &block{data: make([]byte, 0, blockSize)} }}

// ParallelHasher is a Hasher that uses a second and third goroutine once the
// input has grown beyond what one is best at. It holds at most
// (queueDepth+2)*blockSize bytes (1.5 MiB). For one goroutine at a time; Close
// must be called and ends the goroutines it started.
type ParallelHasher struct {
	small  *Hasher // in use until parallelFrom
	sha    chan *block
	blake  chan *block
	done   sync.WaitGroup
	filled *block
	size   int64
	sum    Dual
	ended  bool
}

// NewParallelHasher returns an empty ParallelHasher.
func NewParallelHasher() *ParallelHasher { return &ParallelHasher{small: NewHasher()} }

// Write adds p to both digests; p may be reused when it returns.
func (h *ParallelHasher) Write(p []byte) (int, error) {
	h.size += int64(len(p))
	if h.sha == nil {
		if h.size <= parallelFrom {
			return h.small.Write(p)
		}
		h.start()
	}
	for rest := p; len(rest) > 0; {
		if h.filled == nil {
			h.filled = blocks.Get().(*block)
			h.filled.data = h.filled.data[:0]
		}
		n := min(len(rest), blockSize-len(h.filled.data))
		h.filled.data = append(h.filled.data, rest[:n]...)
		rest = rest[n:]
		if len(h.filled.data) == blockSize {
			h.hand()
		}
	}
	return len(p), nil
}

func (h *ParallelHasher) start() {
	h.sha, h.blake = make(chan *block, queueDepth), make(chan *block, queueDepth)
	h.done.Add(2)
	run := func(in <-chan *block, into io.Writer) {
		defer h.done.Done()
		for b := range in {
			into.Write(b.data) //nolint:errcheck // hash.Hash never returns an error
			if b.left.Add(-1) == 0 {
				blocks.Put(b)
			}
		}
	}
	go run(h.sha, h.small.sha256)
	go run(h.blake, h.small.blake3)
}

func (h *ParallelHasher) hand() {
	b := h.filled
	h.filled = nil
	b.left.Store(2)
	h.sha <- b
	h.blake <- b
}

// Sum ends the input and returns both digests. Nothing may be written after.
func (h *ParallelHasher) Sum() Dual {
	h.Close()
	return h.sum
}

// Size returns how many bytes were written.
func (h *ParallelHasher) Size() int64 { return h.size }

// Close ends the goroutines. It may be called more than once.
func (h *ParallelHasher) Close() {
	if h.ended {
		return
	}
	h.ended = true
	if h.sha != nil {
		if h.filled != nil {
			h.hand()
		}
		close(h.sha)
		close(h.blake)
		h.done.Wait()
	}
	h.sum = h.small.Sum()
}

var (
	_ io.Writer = (*Hasher)(nil)
	_ io.Writer = (*ParallelHasher)(nil)
)
