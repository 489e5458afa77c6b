// Package intake reads what a driver is given to store: into its buffers,
// never more than was declared, and with every fault of the source told from
// faults of the place.
package intake

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// hashInParallelFrom is the size from which two goroutines pay; below it one
// does both digests.
const hashInParallelFrom = 512 << 10

// headSize is how many bytes a source must have given, if it has so many, before
// whoever reads it asks for memory that others wait for. It is little enough for
// every client to hold: its connection takes more.
const headSize = 4 << 10

// headRoom is how many bytes there is room for then. It is more, so that a read
// that ends a source's burst can be told by what it leaves free, and no multiple of
// what clients write at a time.
const headRoom = headSize + 1021

// heads are buffers of headRoom bytes.
var heads = sync.Pool{New: func() any { return new([headRoom]byte) }}

// Intake reads one storage.Source. For one goroutine.
type Intake struct {
	src   storage.Source
	read  int64
	front []byte // read and not given yet
	done  func() // nil, or gives back the memory of front
	ahead [1]byte
	has   bool // ahead holds a byte that comes after front
	ended bool
	// paused: the last read of Await gave less than there was room for.
	paused bool
}

// New returns an Intake at the start of src. Close it.
func New(src storage.Source) *Intake { return &Intake{src: src} }

// Await reads until 4 KiB have come or the source ends, for the next Fill or
// Take to give. Whoever calls it before asking for memory that others wait for
// holds none for a source that has sent next to nothing. Errors are those of Fill.
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

// Unread makes the next Fill or Take give p first, which is the last that was
// given. done is called when p is not needed any more.
func (in *Intake) Unread(p []byte, done func()) { in.front, in.done = p, done }

// Close gives back the memory of what was not given.
func (in *Intake) Close() {
	in.front = nil
	if in.done != nil {
		in.done()
		in.done = nil
	}
}

// Fill reads until buf is full or the source ends, and says whether it ended:
// there is no empty Fill after a full last one. buf must not be empty. More or
// fewer bytes than declared is a *storage.MismatchError, a source that fails a
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
	// So that the last buffer is known to be the last.
	if err := in.look(ctx); err != nil {
		return n, false, err
	}
	end, err = in.over()
	return n, end, err
}

// Take is Fill that does not wait for a source that pauses, as far as that can
// be told: it also stops after a read that gave less than there was room for, of
// the Await before it as well.
// The last Take may give nothing. Where each Take comes after an Await, memory
// for buf is needed only while bytes come.
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

// given moves what was read before to buf.
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

// look reads one byte ahead, unless something is there that was not given.
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

// over reports whether everything was given, and whether it was what was declared.
func (in *Intake) over() (bool, error) {
	// The byte ahead may have come together with the end.
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

// Size returns how many bytes were read so far.
func (in *Intake) Size() int64 { return in.read }

// Hash returns both digests of bytes that lie in several buffers.
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
