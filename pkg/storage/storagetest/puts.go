package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// someMiB is several parts, the last of them incomplete.
const someMiB = 11<<20 + 12345

// declarations are the combinations of what a source may declare.
var declarations = []struct {
	name string
	of   func(storage.Source) storage.Source
}{
	{"all known", func(src storage.Source) storage.Source { return src }},
	{"nothing known", func(src storage.Source) storage.Source {
		return storage.Source{Reader: src.Reader, Size: storage.UnknownSize}
	}},
	{"size unknown", func(src storage.Source) storage.Source { src.Size = storage.UnknownSize; return src }},
	{"digests unknown", func(src storage.Source) storage.Source { src.Want = digest.Dual{}; return src }},
	{"blake3 only", func(src storage.Source) storage.Source { src.Want.SHA256 = digest.Digest{}; return src }},
	{"sha256 only", func(src storage.Source) storage.Source { src.Want.BLAKE3 = digest.Digest{}; return src }},
}

func (s *suite) sizes(t *testing.T) {
	sizes := []int64{0, 1, 4 << 10, s.threshold - 1, s.threshold, s.threshold + 1, 2 * s.threshold, someMiB}
	for seed, size := range sizes {
		for _, declared := range declarations {
			t.Run(fmt.Sprintf("%d/%s", size, declared.name), func(t *testing.T) {
				t.Parallel()
				b := s.open(t)
				data := bytesOf(uint64(seed), size)
				src := declared.of(known(data))
				src.Reader = plain{src.Reader}
				info := mustPut(t, b, src)
				if info.Digests != digestsOf(data) || info.Size != size {
					t.Errorf("Put: %d bytes of %s", info.Size, info.Digests)
				}
				mustHold(t, b, data)
				if s.keys != nil {
					if keys := s.keys(t, b); len(keys) != 1 {
						t.Errorf("left behind: %q", keys)
					}
				}
			})
		}
	}
}

// refused returns sizes that cover every way of storing.
func (s *suite) refused() []int64 { return []int64{1, s.threshold - 1, s.threshold + 1, someMiB} }

func (s *suite) wrongDigest(t *testing.T) {
	other := digest.Of([]byte("other bytes"))
	wrong := map[string]func(digest.Dual) digest.Dual{
		"sha256":            func(d digest.Dual) digest.Dual { d.SHA256 = other.SHA256; return d },
		"blake3":            func(d digest.Dual) digest.Dual { d.BLAKE3 = other.BLAKE3; return d },
		"blake3, no sha256": func(digest.Dual) digest.Dual { return digest.Dual{BLAKE3: other.BLAKE3} },
		"sha256, no blake3": func(digest.Dual) digest.Dual { return digest.Dual{SHA256: other.SHA256} },
	}
	for name, change := range wrong {
		for _, size := range s.refused() {
			for _, declared := range []int64{size, storage.UnknownSize} {
				t.Run(fmt.Sprintf("%s/%d of %d", name, size, declared), func(t *testing.T) {
					t.Parallel()
					b := s.open(t)
					data := bytesOf(1, size)
					src := known(data)
					src.Size, src.Want = declared, change(src.Want)
					_, err := b.Put(t.Context(), src)
					mismatch := (*storage.MismatchError)(nil)
					if !errors.As(err, &mismatch) || !errors.Is(err, storage.ErrMismatch) {
						t.Fatalf("Put: %v", err)
					}
					if mismatch.Got != digestsOf(data) || mismatch.Want != src.Want {
						t.Errorf("the error says want %s, got %s", mismatch.Want, mismatch.Got)
					}
					s.mustBeEmpty(t, b, digestsOf(data).SHA256)
					s.mustBeEmpty(t, b, other.SHA256)
				})
			}
		}
	}
}

func (s *suite) wrongSize(t *testing.T) {
	for _, size := range s.refused() {
		for _, declared := range []int64{size - 1, size + 1, 2*size + 1} {
			for _, way := range []string{"all known", "digests unknown"} {
				t.Run(fmt.Sprintf("%d as %d/%s", size, declared, way), func(t *testing.T) {
					t.Parallel()
					b := s.open(t)
					data := bytesOf(2, size)
					src := known(data)
					src.Size = declared
					if way == "digests unknown" {
						src.Want = digest.Dual{}
					}
					_, err := b.Put(t.Context(), src)
					mismatch := (*storage.MismatchError)(nil)
					if !errors.As(err, &mismatch) {
						t.Fatalf("Put: %v", err)
					}
					if mismatch.WantSize != declared || mismatch.GotSize == declared {
						t.Errorf("the error says want %d, got %d", mismatch.WantSize, mismatch.GotSize)
					}
					s.mustBeEmpty(t, b, digestsOf(data).SHA256)
				})
			}
		}
	}
}

func (s *suite) failingSource(t *testing.T) {
	broken := errors.New("the client went away")
	for _, size := range s.refused() {
		for i, declared := range declarations {
			// The second is net/http's error for an interrupted body.
			cause := []error{broken, io.ErrUnexpectedEOF}[i%2]
			t.Run(fmt.Sprintf("%d/%s/%v", size, declared.name, cause), func(t *testing.T) {
				t.Parallel()
				b := s.open(t)
				data := bytesOf(3, size)
				src := declared.of(known(data))
				src.Reader = io.MultiReader(bytes.NewReader(data[:size*3/4]), failing{cause})
				_, err := b.Put(t.Context(), src)
				if !errors.Is(err, storage.ErrSource) || !errors.Is(err, cause) {
					t.Fatalf("Put: %v", err)
				}
				s.mustBeEmpty(t, b, digestsOf(data).SHA256)
			})
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// cancelledPut ends the context after half of the bytes have been read; the
// source itself would continue.
func (s *suite) cancelledPut(t *testing.T) {
	for _, size := range s.refused()[1:] {
		for _, declared := range declarations {
			t.Run(fmt.Sprintf("%d/%s", size, declared.name), func(t *testing.T) {
				t.Parallel()
				b := s.open(t)
				data := bytesOf(4, size)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				src := declared.of(known(data))
				src.Reader = io.MultiReader(bytes.NewReader(data[:size/2]), calling{cancel}, bytes.NewReader(data[size/2:]))
				began := time.Now()
				_, err := b.Put(ctx, src)
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("Put: %v", err)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("Put returned %s after its context", took)
				}
				s.mustBeEmpty(t, b, digestsOf(data).SHA256)
			})
		}
	}
}

// calling is an empty reader that calls f.
type calling struct{ f func() }

func (c calling) Read([]byte) (int, error) { c.f(); return 0, io.EOF }

func (s *suite) cancelledBefore(t *testing.T) {
	b := s.open(t)
	data := bytesOf(5, 100)
	mustPut(t, b, known(data))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	name := digestsOf(data).SHA256
	_, putErr := b.Put(ctx, known(bytesOf(6, 100)))
	_, _, getErr := b.Get(ctx, name, nil)
	_, headErr := b.Head(ctx, name)
	var listErr error
	for _, err := range b.List(ctx) {
		listErr = err
	}
	_, readErr := b.ReadMarker(ctx)
	_, createErr := b.CreateMarker(ctx, []byte("marker"))
	for verb, err := range map[string]error{
		"Put": putErr, "Get": getErr, "Head": headErr, "Delete": b.Delete(ctx, name), "List": listErr,
		"Health": b.Health(ctx), "ReadMarker": readErr, "CreateMarker": createErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	mustHold(t, b, data)
}

func (s *suite) putAgain(t *testing.T) {
	for _, size := range []int64{0, 100, s.threshold + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			b := s.open(t)
			data := bytesOf(7, size)
			for _, declared := range declarations {
				if info := mustPut(t, b, declared.of(known(data))); info.Digests != digestsOf(data) {
					t.Errorf("%s: %s", declared.name, info.Digests)
				}
				mustHold(t, b, data)
			}
			// A refused put of an existing blob leaves the blob unchanged.
			wrong := known(append(bytes.Clone(data), 'x'))
			wrong.Size, wrong.Want = storage.UnknownSize, digestsOf(data)
			if _, err := b.Put(t.Context(), wrong); !errors.Is(err, storage.ErrMismatch) {
				t.Errorf("Put of other bytes: %v", err)
			}
			mustHold(t, b, data)
		})
	}
}

func (s *suite) concurrentPuts(t *testing.T) {
	for _, size := range []int64{1000, s.threshold + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			b := s.open(t)
			data := bytesOf(8, size)
			backends := []storage.Backend{b, s.second(t, b)}
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					src := declarations[i%len(declarations)].of(known(data))
					if _, err := backends[i%2].Put(t.Context(), src); err != nil {
						t.Errorf("Put: %v", err)
					}
				})
			}
			all.Wait()
			mustHold(t, b, data)
			if s.keys != nil {
				if keys := s.keys(t, b); len(keys) != 1 {
					t.Errorf("left behind: %q", keys)
				}
			}
		})
	}
}

// manyPuts runs more uploads in parallel than memory can hold: each must get its
// turn, including those that need several buffers.
func (s *suite) manyPuts(t *testing.T) {
	b := s.open(t)
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			data := bytesOf(uint64(100+i), []int64{1000, s.threshold - 1, s.threshold + 1}[i%3])
			src := declarations[i%len(declarations)].of(known(data))
			src.Reader = plain{src.Reader}
			if _, err := b.Put(t.Context(), src); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
	}
	all.Wait()
	listed := 0
	for _, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if listed != 24 {
		t.Errorf("%d of 24 are there", listed)
	}
}
