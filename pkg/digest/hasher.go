package digest

import (
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"github.com/zeebo/blake3"
)

// Hasher computes both digests of what is written to it. It is for one
// goroutine. Write never fails.
type Hasher struct {
	sha256 hash.Hash
	blake3 *blake3.Hasher
	size   int64
}

// NewHasher returns an empty Hasher.
func NewHasher() *Hasher { return &Hasher{sha256: sha256.New(), blake3: blake3.New()} }

// Write adds p to both digests.
func (h *Hasher) Write(p []byte) (int, error) {
	h.sha256.Write(p)
	h.blake3.Write(p) //nolint:errcheck // hash.Hash never returns an error
	h.size += int64(len(p))
	return len(p), nil
}

// Reset empties the Hasher.
func (h *Hasher) Reset() {
	h.sha256.Reset()
	h.blake3.Reset()
	h.size = 0
}

// Sum returns both digests of the bytes written so far. Writing may continue.
func (h *Hasher) Sum() Dual {
	var sha, b3 [Size]byte
	h.sha256.Sum(sha[:0])
	h.blake3.Sum(b3[:0])
	return Dual{New(SHA256, sha), New(BLAKE3, b3)}
}

// Size returns the number of bytes written.
func (h *Hasher) Size() int64 { return h.size }

var hashers = sync.Pool{New: func() any { return NewHasher() }}

// Of returns both digests of p.
func Of(p []byte) Dual {
	h := hashers.Get().(*Hasher)
	defer hashers.Put(h)
	h.Reset()
	h.Write(p) //nolint:errcheck // never fails
	return h.Sum()
}

// Copy copies src to dst until EOF, like io.Copy, and returns both digests and the
// number of bytes copied. For large input it computes the digests on two goroutines,
// so that the slower one (SHA-256, about 1.75 GB/s) is the limit, not their sum.
func Copy(dst io.Writer, src io.Reader) (Dual, int64, error) {
	h := NewParallelHasher()
	defer h.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(dst, h)}, struct{ io.Reader }{src}, make([]byte, blockSize))
	return h.Sum(), n, err
}

// Reader hashes what is read through it.
type Reader struct {
	from   io.Reader
	hasher *Hasher
}

// NewReader returns a Reader over from. Sum is valid for the bytes read so far.
func NewReader(from io.Reader) *Reader { return &Reader{from, NewHasher()} }

func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.hasher.Write(p[:n]) //nolint:errcheck // never fails
	return n, err
}

// Sum returns both digests of the bytes read so far.
func (r *Reader) Sum() Dual { return r.hasher.Sum() }

// Size returns the number of bytes read.
func (r *Reader) Size() int64 { return r.hasher.Size() }
