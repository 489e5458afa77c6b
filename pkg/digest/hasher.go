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
// so that the slower one (SHA-256, about 1.75 GB/s) is the limit, not their sum. It reads
// blocks of 256 KiB, of which it holds at most queueDepth+2.
func Copy(dst io.Writer, src io.Reader) (sum Dual, n int64, err error) {
	block := blocks.Get().(*[]byte)
	read, err := fill(src, (*block)[:blockSize])
	if err != nil { // all of it is here
		defer blocks.Put(block)
		return Of((*block)[:read]), int64(read), write(dst, (*block)[:read], err)
	}
	h := NewInPlaceHasher()
	defer h.Close()
	for {
		full := block
		if failed := write(dst, (*full)[:read], nil); failed != nil {
			err = failed
		}
		h.Add((*full)[:read], func() { blocks.Put(full) })
		if err != nil {
			break
		}
		block = blocks.Get().(*[]byte)
		read, err = fill(src, (*block)[:blockSize])
	}
	if err == io.EOF {
		err = nil
	}
	return h.Sum(), h.Size(), err
}

// fill reads until p is full, or until an error, which is the reader's own: io.ReadFull
// would turn an end into the error of an input that was cut, and hide that one.
func fill(src io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = src.Read(p[n:])
		n += m
	}
	return n, err
}

// write writes what was read before err, which is nil at the end of the input.
func write(dst io.Writer, p []byte, err error) error {
	if err == io.EOF {
		err = nil
	}
	n, failed := dst.Write(p)
	switch {
	case failed != nil:
		return failed
	case n < len(p):
		return io.ErrShortWrite
	}
	return err
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
