package intake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// However the source cuts its reads and brings its end, every byte comes once,
// in buffers of which only the last may be short.
func TestFillGivesEveryByte(t *testing.T) {
	t.Parallel()
	const buffer = 16
	readers := map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"one by one":    iotest.OneByteReader,
		"half":          iotest.HalfReader,
		"end with data": iotest.DataErrReader,
		"one by one, end with data": func(r io.Reader) io.Reader {
			return iotest.DataErrReader(iotest.OneByteReader(r))
		},
	}
	for name, reader := range readers {
		for size := range 3*buffer + 2 {
			for _, declared := range []int64{int64(size), storage.UnknownSize} {
				want := bytes.Repeat([]byte("0123456789abc"), 5)[:size]
				in := New(storage.Source{Reader: reader(bytes.NewReader(want)), Size: declared})
				var got []byte
				for end := false; !end; {
					buf := make([]byte, buffer)
					n, ended, err := in.Fill(context.Background(), buf)
					if err != nil {
						t.Fatalf("%s, %d of %d: %v", name, len(got), size, err)
					}
					if n < buffer && !ended {
						t.Fatalf("%s, %d of %d: a short buffer before the end", name, len(got), size)
					}
					if n == 0 && size > 0 {
						t.Fatalf("%s, %d of %d: an empty buffer at the end", name, len(got), size)
					}
					got, end = append(got, buf[:n]...), ended
				}
				if !bytes.Equal(got, want) || in.Size() != int64(size) {
					t.Fatalf("%s: %d bytes became %d", name, size, len(got))
				}
			}
		}
	}
}

func TestFillRefusesOtherSizes(t *testing.T) {
	t.Parallel()
	for size := range 40 {
		for declared := range 40 {
			if size == declared {
				continue
			}
			in := New(storage.Source{Reader: iotest.DataErrReader(bytes.NewReader(make([]byte, size))), Size: int64(declared)})
			var err error
			for end := false; !end && err == nil; {
				_, end, err = in.Fill(context.Background(), make([]byte, 16))
			}
			if !errors.Is(err, storage.ErrMismatch) {
				t.Fatalf("%d bytes declared as %d: %v", size, declared, err)
			}
		}
	}
}
