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

// earlySize is how many bytes a client must have sent, if it has so many, before
// it is given memory of the budget. It is little enough for every client to
// hold.
const earlySize = 64 << 10

// earlies are buffers of earlySize bytes.
var earlies = sync.Pool{New: func() any { return new([earlySize]byte) }}

// Intake reads one storage.Source. For one goroutine.
type Intake struct {
	src   storage.Source
	read  int64
	early *[earlySize]byte // nil, or what Await read and Fill has not given yet:
	from  int              // the bytes from here
	to    int              // to here
	ahead [1]byte
	has   bool // ahead holds a byte that was read and not given yet
	ended bool
}

// New returns an Intake at the start of src.
func New(src storage.Source) *Intake { return &Intake{src: src} }

// Await reads until 64 KiB have come or the source ends, for the next Fill to
// give. Whoever calls it before asking for memory that others wait for holds
// none for a source that has sent next to nothing. Errors are those of Fill.
func (in *Intake) Await(ctx context.Context) error {
	if in.early == nil {
		in.early = earlies.Get().(*[earlySize]byte)
		in.from, in.to = 0, 0
		if in.has {
			in.early[0], in.has, in.to = in.ahead[0], false, 1
		}
	}
	for in.to < earlySize && !in.ended {
		n, err := in.once(ctx, in.early[in.to:])
		in.to += n
		if err != nil {
			in.Close()
			return err
		}
	}
	return nil
}

// All returns the whole source if it lies in what Await read, for it ended
// there: whoever stores that needs no memory of the budget. The bytes are good
// until Close. Another size than declared is a *storage.MismatchError.
func (in *Intake) All() (data []byte, ok bool, err error) {
	if !in.ended || in.early == nil || in.from > 0 || int64(in.to) != in.read {
		return nil, false, nil
	}
	if in.src.Size != storage.UnknownSize && in.read != in.src.Size {
		return nil, false, in.wrongSize()
	}
	return in.early[:in.to], true, nil
}

// Close gives back what Await read and Fill did not come to give.
func (in *Intake) Close() {
	if in.early != nil {
		earlies.Put(in.early)
		in.early = nil
	}
}

// Fill reads until buf is full or the source ends, and says whether it ended:
// there is no empty Fill after a full last one. buf must not be empty. More or
// fewer bytes than declared is a *storage.MismatchError, a source that fails a
// storage.ErrSource, the end of ctx its error.
func (in *Intake) Fill(ctx context.Context, buf []byte) (n int, end bool, err error) {
	switch {
	case in.early != nil:
		n = copy(buf, in.early[in.from:in.to])
		if in.from += n; in.from < in.to {
			return n, false, nil
		}
		in.Close()
	case in.has:
		buf[0], in.has, n = in.ahead[0], false, 1
	}
	for n < len(buf) && !in.ended {
		got, err := in.once(ctx, buf[n:])
		n += got
		if err != nil {
			return n, false, err
		}
	}
	// One byte ahead, so that the last buffer is known to be the last.
	for !in.has && !in.ended {
		got, err := in.once(ctx, in.ahead[:])
		if err != nil {
			return n, false, err
		}
		in.has = got == 1
	}
	// The byte ahead may have come together with the end.
	if in.has || !in.ended {
		return n, false, nil
	}
	if in.src.Size != storage.UnknownSize && in.read != in.src.Size {
		return n, false, in.wrongSize()
	}
	return n, true, nil
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
