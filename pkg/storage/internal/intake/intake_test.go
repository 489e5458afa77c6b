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

// TestAwait: what was awaited is given first, before and between Fills, into
// buffers that are smaller and larger than it.
func TestAwait(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, earlySize - 1, earlySize, earlySize + 1, 3*earlySize + 7} {
		for _, buffer := range []int{1000, earlySize, 2 * earlySize} {
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(i ^ i>>8)
			}
			in := New(storage.Source{Reader: iotest.HalfReader(bytes.NewReader(want)), Size: int64(size)})
			var got []byte
			for end := false; !end; {
				if err := in.Await(t.Context()); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, buffer)
				n, ended, err := in.Fill(t.Context(), buf)
				if err != nil || n < buffer && !ended {
					t.Fatalf("%d of %d: %d bytes, %v", len(got), size, n, err)
				}
				got, end = append(got, buf[:n]...), ended
			}
			if !bytes.Equal(got, want) || in.Size() != int64(size) {
				t.Errorf("%d bytes by %d became %d", size, buffer, len(got))
			}
		}
	}
}

func TestAwaitTellsFaults(t *testing.T) {
	t.Parallel()
	in := New(storage.Source{Reader: bytes.NewReader(make([]byte, 9)), Size: 8})
	if err := in.Await(t.Context()); !errors.Is(err, storage.ErrMismatch) {
		t.Errorf("more than declared: %v", err)
	}
	in = New(storage.Source{Reader: iotest.ErrReader(io.ErrUnexpectedEOF), Size: 8})
	if err := in.Await(t.Context()); !errors.Is(err, storage.ErrSource) {
		t.Errorf("a source that broke off: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in = New(storage.Source{Reader: bytes.NewReader(make([]byte, 8)), Size: 8})
	if err := in.Await(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// All gives a source that ended within what Await reads, once, and nothing of a larger one.
func TestAll(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, earlySize - 1, earlySize + 1, 3 * earlySize} {
		want := bytes.Repeat([]byte("x"), size)
		for _, declared := range []int64{int64(size), storage.UnknownSize} {
			in := New(storage.Source{Reader: iotest.HalfReader(bytes.NewReader(want)), Size: declared})
			if _, ok, err := in.All(); ok || err != nil {
				t.Errorf("%d bytes before Await: %t, %v", size, ok, err)
			}
			if err := in.Await(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, ok, err := in.All()
			if err != nil || ok != (size < earlySize) || ok && !bytes.Equal(got, want) {
				t.Errorf("%d bytes: %d, %t, %v", size, len(got), ok, err)
			}
			if size > 1 {
				if _, _, err := in.Fill(t.Context(), make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if _, ok, _ := in.All(); ok {
					t.Errorf("%d bytes: all of them after Fill has given one", size)
				}
			}
			in.Close()
		}
	}
	in := New(storage.Source{Reader: bytes.NewReader([]byte("four")), Size: 5})
	defer in.Close()
	if err := in.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := in.All(); ok || !errors.Is(err, storage.ErrMismatch) {
		t.Errorf("4 of 5 bytes: %t, %v", ok, err)
	}
}
