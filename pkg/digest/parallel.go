package digest

import (
	"io"
	"sync"
)

const (
	// blockSize is how much one goroutine passes to another at a time: so much
	// that passing it (about 1 microsecond) costs less than 1 %.
	blockSize = 256 << 10
	// parallelFrom is the size from which two goroutines are faster than one.
	// Below it everything runs on the caller's.
	parallelFrom = 2 * blockSize
	// queueDepth lets the faster hash run ahead. Measurements show no gain
	// above 4.
	queueDepth = 4
)

var blocks = sync.Pool{New: func() any { b := make([]byte, 0, blockSize); return &b }}

// ParallelHasher is a Hasher that switches to an InPlaceHasher, and copies what is
// written, once the input is too large for one goroutine. It holds at most
// (queueDepth+2)*blockSize bytes (1.5 MiB). It is for one goroutine at a time; the
// caller must call Close, which ends its goroutines.
type ParallelHasher struct {
	large  *InPlaceHasher
	begun  bool // large is in use
	filled *[]byte
	size   int64
}

// NewParallelHasher returns an empty ParallelHasher.
func NewParallelHasher() *ParallelHasher { return &ParallelHasher{large: NewInPlaceHasher()} }

// Write adds p to both digests; p may be reused when it returns.
func (h *ParallelHasher) Write(p []byte) (int, error) {
	h.size += int64(len(p))
	if !h.begun {
		if h.size <= parallelFrom {
			return h.large.hasher.Write(p)
		}
		h.begun = true
	}
	for rest := p; len(rest) > 0; {
		if h.filled == nil {
			h.filled = blocks.Get().(*[]byte)
			*h.filled = (*h.filled)[:0]
		}
		n := min(len(rest), blockSize-len(*h.filled))
		*h.filled = append(*h.filled, rest[:n]...)
		rest = rest[n:]
		if len(*h.filled) == blockSize {
			h.hand()
		}
	}
	return len(p), nil
}

func (h *ParallelHasher) hand() {
	b := h.filled
	h.filled = nil
	h.large.Add(*b, func() { blocks.Put(b) })
}

// Sum ends the input and returns both digests. Write must not be called afterwards.
func (h *ParallelHasher) Sum() Dual {
	if h.filled != nil && !h.large.ended {
		h.hand()
	}
	return h.large.Sum()
}

// Size returns the number of bytes written.
func (h *ParallelHasher) Size() int64 { return h.size }

// Close ends the goroutines. It may be called more than once.
func (h *ParallelHasher) Close() { h.large.Close() }

var (
	_ io.Writer = (*Hasher)(nil)
	_ io.Writer = (*ParallelHasher)(nil)
)
