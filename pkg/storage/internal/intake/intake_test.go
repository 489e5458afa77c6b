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

// However the source divides its reads and returns its end, every byte is returned
// once, in buffers of which only the last may be short.
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

// TestAwait: awaited bytes are returned first, before and between Fills and Takes,
// into buffers that are smaller and larger than they are.
func TestAwait(t *testing.T) {
	t.Parallel()
	readers := map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"half":          iotest.HalfReader,
		"one by one":    iotest.OneByteReader,
		"end with data": iotest.DataErrReader,
	}
	for name, reader := range readers {
		for _, size := range []int{0, 1, headSize - 1, headSize, headSize + 1, 3*headSize + 7} {
			for _, buffer := range []int{1, 1000, headSize, headSize + 1, 2 * headSize, 4 * headSize} {
				for _, declared := range []int64{int64(size), storage.UnknownSize} {
					want := make([]byte, size)
					for i := range want {
						want[i] = byte(i ^ i>>8)
					}
					for how, next := range map[string]func(*Intake, context.Context, []byte) (int, bool, error){"Fill": (*Intake).Fill, "Take": (*Intake).Take} {
						in := New(storage.Source{Reader: reader(bytes.NewReader(want)), Size: declared})
						var got []byte
						for end := false; !end; {
							if err := in.Await(t.Context()); err != nil {
								t.Fatal(err)
							}
							buf := make([]byte, buffer)
							n, ended, err := next(in, t.Context(), buf)
							if err != nil || how == "Fill" && n < buffer && !ended || n == 0 && !ended {
								t.Fatalf("%s of %d, %s: %d bytes after %d, %v", how, size, name, n, len(got), err)
							}
							got, end = append(got, buf[:n]...), ended
						}
						in.Close()
						if !bytes.Equal(got, want) || in.Size() != int64(size) {
							t.Errorf("%s, %s: %d bytes by %d became %d", how, name, size, buffer, len(got))
						}
					}
				}
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
		t.Errorf("an interrupted source: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in = New(storage.Source{Reader: bytes.NewReader(make([]byte, 8)), Size: 8})
	if err := in.Await(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// pausing returns one piece after another. A Read that would have to wait for the next
// is recorded and fails.
type pausing struct {
	pieces [][]byte // pieces that have arrived, and pieces to come
	waited bool
}

func (p *pausing) Read(buf []byte) (int, error) {
	n := copy(buf, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; n > 0 {
		return n, nil
	}
	if len(p.pieces) == 1 {
		return 0, io.EOF
	}
	p.waited = true
	return 0, io.ErrNoProgress
}

// TestTakeDoesNotWait: it ends with the bytes that have arrived, and knows the end of a declared size.
func TestTakeDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, declared := range []int64{10000, storage.UnknownSize} {
		source := &pausing{pieces: [][]byte{make([]byte, 5000), make([]byte, 5000)}}
		in := New(storage.Source{Reader: source, Size: declared})
		defer in.Close()
		for _, last := range []bool{false, true} {
			if err := in.Await(t.Context()); err != nil {
				t.Fatal(err)
			}
			n, end, err := in.Take(t.Context(), make([]byte, 8000))
			if n != 5000 || end != (last && declared != storage.UnknownSize) || err != nil || source.waited {
				t.Errorf("declared %d: %d bytes, %t, %v, waited %t", declared, n, end, err, source.waited)
			}
			if !last {
				source.pieces = source.pieces[1:]
			}
		}
	}
}

// TestTakeRefusesOtherSizes like Fill.
func TestTakeRefusesOtherSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, headSize - 1, headSize, headSize + 1, 3 * headSize} {
		for _, declared := range []int{0, 1, headSize - 1, headSize, headSize + 1, 3*headSize + 1} {
			if size == declared {
				continue
			}
			in := New(storage.Source{Reader: iotest.HalfReader(bytes.NewReader(make([]byte, size))), Size: int64(declared)})
			err := in.Await(t.Context())
			for end := false; !end && err == nil; err = errors.Join(err, in.Await(t.Context())) {
				_, end, err = in.Take(t.Context(), make([]byte, 3000))
			}
			in.Close()
			if !errors.Is(err, storage.ErrMismatch) {
				t.Fatalf("%d bytes declared as %d: %v", size, declared, err)
			}
		}
	}
}

// TestUnread: bytes put back are returned first, once, and then released.
func TestUnread(t *testing.T) {
	t.Parallel()
	want := make([]byte, 3000)
	for i := range want {
		want[i] = byte(i ^ i>>8)
	}
	for _, closed := range []bool{false, true} {
		in := New(storage.Source{Reader: bytes.NewReader(want), Size: storage.UnknownSize})
		first := make([]byte, 1000)
		if n, end, err := in.Fill(t.Context(), first); n != len(first) || end || err != nil {
			t.Fatalf("%d bytes, %t, %v", n, end, err)
		}
		done := 0
		in.Unread(first, func() { done++ })
		if err := in.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 999)
		if n, end, err := in.Fill(t.Context(), got); n != len(got) || end || err != nil || done != 0 {
			t.Fatalf("%d bytes, %t, %v, let go %d times", n, end, err, done)
		}
		if closed {
			in.Close()
			in.Close()
		} else {
			rest := make([]byte, 4000)
			n, end, err := in.Fill(t.Context(), rest)
			if got = append(got, rest[:n]...); !end || err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %t, %v", len(got), end, err)
			}
		}
		if done != 1 {
			t.Errorf("closed %t: let go %d times", closed, done)
		}
	}
}
