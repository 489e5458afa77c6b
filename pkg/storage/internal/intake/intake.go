// Package intake reads the source of a Put into the driver's buffers. It never reads
// more than was declared, and distinguishes faults of the source from faults of the
// place.
package intake

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// hashInParallelFrom is the size from which two goroutines are worth their cost; below
// it one computes both digests.
const hashInParallelFrom = 512 << 10

// headSize is how many bytes a source must have sent (or all it has) before its reader
// requests memory that others wait for. It is so little that every client may hold it:
// its connection takes more.
const headSize = 4 << 10

// headRoom is the size of the buffer for them. It is larger, so that the free space
// after a read shows the end of a source's burst, and not a multiple of what clients
// write at a time.
const headRoom = headSize + 1021

// heads are buffers of headRoom bytes.
var heads = sync.Pool{New: func() any { return new([headRoom]byte) }}

// Intake reads one storage.Source. It is for one goroutine.
type Intake struct {
	src   storage.Source
	read  int64
	front []byte // read, but not returned yet
	done  func() // nil, or releases the memory of front
	ahead [1]byte
	has   bool // ahead holds the byte after front
	ended bool
	// paused: the last read of Await filled less than the available space.
	paused bool
}

// New returns an Intake at the start of src. The caller closes it.
func New(src storage.Source) *Intake { return &Intake{src: src} }

// Await reads until 4 KiB have arrived or the source ends; the next Fill or Take
// returns these bytes. A caller that calls it before it requests memory that others
// wait for holds none for a source that has sent almost nothing. Errors are as of Fill.
func (in *Intake) Await(ctx context.Context) error {
	if len(in.front) > 0 || in.ended && !in.has {
		return nil
	}
	head, n := heads.Get().(*[headRoom]byte), 0
	if in.has {
		head[0], in.has, n = in.ahead[0], false, 1
	}
	for n < headSize && !in.ended {
		got, err := in.once(ctx, head[n:])
		n += got
		in.paused = n < headRoom
		if err != nil {
			heads.Put(head)
			return err
		}
	}
	in.Unread(head[:n], func() { heads.Put(head) })
	return nil
}

// Unread makes the next Fill or Take return p first, which must be the last bytes
// returned. done is called when p is no longer needed.
func (in *Intake) Unread(p []byte, done func()) { in.front, in.done = p, done }

// Close releases the memory of bytes that were not returned.
func (in *Intake) Close() {
	in.front = nil
	if in.done != nil {
		in.done()
		in.done = nil
	}
}

// Fill reads until buf is full or the source ends, and reports whether it ended: the
// last full buffer is recognized as the last. buf must not be empty. More or fewer
// bytes than declared are a *storage.MismatchError, a failing source is a
// storage.ErrSource, the end of ctx its error.
func (in *Intake) Fill(ctx context.Context, buf []byte) (n int, end bool, err error) {
	n, in.paused = in.given(buf), false
	for n < len(buf) && !in.ended {
		got, err := in.once(ctx, buf[n:])
		n += got
		if err != nil {
			return n, false, err
		}
	}
	// So that the last buffer is recognized as the last.
	if err := in.look(ctx); err != nil {
		return n, false, err
	}
	end, err = in.over()
	return n, end, err
}

// Take is Fill, except that it does not wait for a source that pauses, as far as that
// can be detected: it also stops after a read that filled less than the available
// space, including the read of the Await before it. The last Take may return nothing.
// If each Take follows an Await, memory for buf is needed only while bytes arrive.
func (in *Intake) Take(ctx context.Context, buf []byte) (n int, end bool, err error) {
	n = in.given(buf)
	if in.paused {
		in.paused = false
		if n > 0 && !in.ended && in.read != in.src.Size {
			return n, false, nil
		}
	}
	for n < len(buf) && !in.ended && in.read != in.src.Size {
		got, err := in.once(ctx, buf[n:])
		n += got
		if err != nil {
			return n, false, err
		}
		if n < len(buf) && !in.ended && in.read != in.src.Size {
			return n, false, nil
		}
	}
	if in.read == in.src.Size {
		if err := in.look(ctx); err != nil {
			return n, false, err
		}
	}
	end, err = in.over()
	return n, end, err
}

// given moves bytes read before to buf.
func (in *Intake) given(buf []byte) (n int) {
	n = copy(buf, in.front)
	if in.front = in.front[n:]; len(in.front) > 0 {
		return n
	}
	in.Close()
	if in.has && n < len(buf) {
		buf[n], in.has = in.ahead[0], false
		n++
	}
	return n
}

// look reads one byte ahead, unless bytes are waiting to be returned.
func (in *Intake) look(ctx context.Context) error {
	for len(in.front) == 0 && !in.has && !in.ended {
		got, err := in.once(ctx, in.ahead[:])
		if err != nil {
			return err
		}
		in.has = got == 1
	}
	return nil
}

// over reports whether everything was returned, and whether it matches the declaration.
func (in *Intake) over() (bool, error) {
	// The byte ahead may have arrived together with the end.
	if len(in.front) > 0 || in.has || !in.ended {
		return false, nil
	}
	if in.src.Size != storage.UnknownSize && in.read != in.src.Size {
		return false, in.wrongSize()
	}
	return true, nil
}

func (in *Intake) once(ctx context.Context, p []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := in.src.Reader.Read(p)
	in.read += int64(n)
	switch {
	case err == io.EOF:
		in.ended = true
	case err != nil && ctx.Err() != nil:
		return n, ctx.Err()
	case err != nil:
		return n, fmt.Errorf("%w after %d bytes: %w", storage.ErrSource, in.read, err)
	}
	if in.src.Size != storage.UnknownSize && in.read > in.src.Size {
		return n, in.wrongSize()
	}
	return n, nil
}

func (in *Intake) wrongSize() error {
	return &storage.MismatchError{Want: in.src.Want, WantSize: in.src.Size, GotSize: in.read}
}

// Size returns the number of bytes read so far.
func (in *Intake) Size() int64 { return in.read }

// Hash returns both digests of bytes in several buffers.
func Hash(pieces ...[]byte) digest.Dual {
	var size int
	for _, piece := range pieces {
		size += len(piece)
	}
	if size < hashInParallelFrom {
		if len(pieces) == 1 {
			return digest.Of(pieces[0])
		}
		h := digest.NewHasher()
		for _, piece := range pieces {
			h.Write(piece) //nolint:errcheck // never fails
		}
		return h.Sum()
	}
	h := digest.NewInPlaceHasher()
	defer h.Close()
	for _, piece := range pieces {
		h.Add(piece, nil)
	}
	return h.Sum()
}
