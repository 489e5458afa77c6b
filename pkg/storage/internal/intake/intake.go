// Package intake reads what a driver is given to store: into its buffers,
// never more than was declared, and with every fault of the source told from
// faults of the place.
package intake

import (
	"context"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// hashInParallelFrom is the size from which two goroutines pay; below it one
// does both digests.
const hashInParallelFrom = 512 << 10

// Intake reads one storage.Source. For one goroutine.
type Intake struct {
	src   storage.Source
	read  int64
	ahead [1]byte
	has   bool // ahead holds a byte that was read and not given yet
	ended bool
}

// New returns an Intake at the start of src.
func New(src storage.Source) *Intake { return &Intake{src: src} }

// Fill reads until buf is full or the source ends, and says whether it ended:
// there is no empty Fill after a full last one. buf must not be empty. More or
// fewer bytes than declared is a *storage.MismatchError, a source that fails a
// storage.ErrSource, the end of ctx its error.
func (in *Intake) Fill(ctx context.Context, buf []byte) (n int, end bool, err error) {
	if in.has {
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
