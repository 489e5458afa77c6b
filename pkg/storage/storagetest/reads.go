package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func (s *suite) ranges(t *testing.T) {
	b := s.open(t)
	data := bytesOf(9, 5000)
	name := mustPut(t, b, known(data)).Digests.SHA256
	empty := mustPut(t, b, known(nil)).Digests.SHA256

	for _, span := range [][2]int64{{0, 5000}, {0, 1}, {4999, 1}, {1000, 2000}, {0, 0}, {5000, 0}, {2500, 0}} {
		rng := storage.Range{Offset: span[0], Length: span[1]}
		r, info, err := b.Get(t.Context(), name, &rng)
		if err != nil {
			t.Fatalf("%+v: %v", rng, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data[rng.Offset:rng.Offset+rng.Length]) {
			t.Errorf("%+v: %d bytes, %v", rng, len(got), err)
		}
		if info.Size != 5000 {
			t.Errorf("%+v: the whole is %d bytes", rng, info.Size)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%+v: Close: %v", rng, err)
		}
	}
	for _, outside := range []struct {
		name digest.Digest
		rng  storage.Range
	}{
		{name, storage.Range{Offset: 5000, Length: 1}},
		{name, storage.Range{Offset: 4999, Length: 2}},
		{name, storage.Range{Offset: 0, Length: 5001}},
		{name, storage.Range{Offset: 5001, Length: 0}},
		{name, storage.Range{Offset: -1, Length: 1}},
		{name, storage.Range{Offset: 0, Length: -1}},
		{name, storage.Range{Offset: 1, Length: math.MaxInt64}},
		{name, storage.Range{Offset: math.MaxInt64, Length: math.MaxInt64}},
		{empty, storage.Range{Offset: 0, Length: 1}},
		{empty, storage.Range{Offset: 1, Length: 0}},
	} {
		r, _, err := b.Get(t.Context(), outside.name, &outside.rng)
		if !errors.Is(err, storage.ErrRange) {
			t.Errorf("%+v: %v", outside.rng, err)
		}
		if err == nil {
			r.Close() //nolint:errcheck // failed above
		}
	}
	r, _, err := b.Get(t.Context(), empty, &storage.Range{})
	if err != nil {
		t.Fatalf("nothing of an empty blob: %v", err)
	}
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Errorf("nothing of an empty blob: %d bytes, %v", len(got), err)
	}
	r.Close() //nolint:errcheck // empty
}

func (s *suite) missing(t *testing.T) {
	b := s.open(t)
	mustPut(t, b, known([]byte("something else")))
	name := digest.Of([]byte("never put")).SHA256
	for what, rng := range map[string]*storage.Range{"all": nil, "a part": {Offset: 0, Length: 1}, "nothing": {}} {
		if _, _, err := b.Get(t.Context(), name, rng); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Get of %s: %v", what, err)
		}
	}
	if _, err := b.Head(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Head: %v", err)
	}
	if err := b.Delete(t.Context(), name); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func (s *suite) deletes(t *testing.T) {
	b := s.open(t)
	gone, stays := bytesOf(10, 1000), bytesOf(11, 1000)
	name := mustPut(t, b, known(gone)).Digests.SHA256
	mustPut(t, b, known(stays))
	for range 2 {
		if err := b.Delete(t.Context(), name); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		if _, err := b.Head(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Head: %v", err)
		}
	}
	mustHold(t, b, stays)
	mustPut(t, b, known(gone))
	mustHold(t, b, gone)
}

func (s *suite) list(t *testing.T) {
	b := s.open(t)
	for info, err := range b.List(t.Context()) {
		t.Errorf("an empty place lists %v, %v", info, err)
	}
	if _, err := b.CreateMarker(t.Context(), []byte("not a blob")); err != nil {
		t.Fatal(err)
	}
	want := map[digest.Digest]int64{}
	for i := range 40 {
		info := mustPut(t, b, known(bytesOf(uint64(200+i), int64(i))))
		want[info.Digests.SHA256] = info.Size
	}
	s.mustList(t, b, want)

	// The caller may stop at any point.
	seen := 0
	for _, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("stopped after %d", seen)
	}
}

func (s *suite) mustList(t *testing.T, b storage.Backend, want map[digest.Digest]int64) {
	t.Helper()
	var order []string
	for info, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		size, ok := want[info.Digests.SHA256]
		if !ok || size != info.Size {
			t.Errorf("listed %s with %d bytes", info.Digests.SHA256, info.Size)
		}
		if !info.Digests.BLAKE3.IsZero() {
			t.Errorf("listed a BLAKE3 that nobody can know")
		}
		order = append(order, info.Digests.SHA256.Hex())
	}
	if len(order) != len(want) {
		t.Errorf("listed %d of %d", len(order), len(want))
	}
	if !slices.IsSorted(order) {
		t.Errorf("not in the order of the digests")
	}
	if len(slices.Compact(order)) != len(order) {
		t.Errorf("listed a blob twice")
	}
}

// listPages puts more blobs than the 1,000 that an S3 server lists per page.
func (s *suite) listPages(t *testing.T) {
	b := s.open(t)
	const count = 1050
	var (
		mu   sync.Mutex
		want = map[digest.Digest]int64{}
		all  sync.WaitGroup
	)
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < count; i += 8 {
				data := fmt.Appendf(nil, "blob %d", i)
				info, err := b.Put(t.Context(), known(data))
				if err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				mu.Lock()
				want[info.Digests.SHA256] = info.Size
				mu.Unlock()
			}
		})
	}
	all.Wait()
	s.mustList(t, b, want)
}

// layout checks the documented names, which people and other programs rely on.
func (s *suite) layout(t *testing.T) {
	if s.keys == nil {
		return
	}
	b := s.open(t)
	if _, err := b.CreateMarker(t.Context(), []byte("marker")); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, known([]byte("hello")))
	// printf hello | sha256sum
	want := []string{
		".artifactstore/identity",
		"sha256/2c/f2/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	}
	got := s.keys(t, b)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the place holds %q", got)
	}
}

func (s *suite) marker(t *testing.T) {
	b := s.open(t)
	if _, err := b.ReadMarker(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("ReadMarker of an empty place: %v", err)
	}
	for _, ours := range []string{"first", "second"} {
		there, err := b.CreateMarker(t.Context(), []byte(ours))
		if err != nil || string(there) != "first" {
			t.Errorf("CreateMarker(%s): %q, %v", ours, there, err)
		}
	}
	there, err := s.second(t, b).ReadMarker(t.Context())
	if err != nil || string(there) != "first" {
		t.Errorf("ReadMarker: %q, %v", there, err)
	}
}

func (s *suite) headMark(t *testing.T) {
	b := s.open(t)
	if _, err := b.ReadHeadMark(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("ReadHeadMark of an empty place: %v", err)
	}
	other := s.second(t, b)
	for i, mark := range []string{"first", "second, which is longer", "third"} {
		writer, reader := b, other
		if i%2 == 1 {
			writer, reader = other, b
		}
		if _, err := writer.WriteHeadMark(t.Context(), []byte(mark)); err != nil {
			t.Fatalf("WriteHeadMark(%s): %v", mark, err)
		}
		if there, err := reader.ReadHeadMark(t.Context()); err != nil || string(there) != mark {
			t.Errorf("ReadHeadMark: %q, expected %q: %v", there, mark, err)
		}
	}
	if _, err := b.ReadMarker(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("it is taken for the identity: %v", err)
	}
	s.mustList(t, b, nil)
	if s.keys != nil {
		if keys := s.keys(t, b); len(keys) != 1 || keys[0] != storage.HeadMarkKey {
			t.Errorf("the place holds %q", keys)
		}
	}
}

func (s *suite) markerRace(t *testing.T) {
	b := s.open(t)
	backends := []storage.Backend{b, s.second(t, b)}
	const writers = 8
	var (
		all   sync.WaitGroup
		begin = make(chan struct{})
		seen  [writers]string
	)
	for i := range writers {
		all.Go(func() {
			<-begin
			there, err := backends[i%2].CreateMarker(t.Context(), fmt.Appendf(nil, "writer %d", i))
			if err != nil {
				t.Errorf("CreateMarker: %v", err)
			}
			seen[i] = string(there)
		})
	}
	close(begin)
	all.Wait()
	for i := range seen {
		if seen[i] != seen[0] {
			t.Errorf("writer %d sees %q, writer 0 %q", i, seen[i], seen[0])
		}
	}
	there, err := b.ReadMarker(t.Context())
	if err != nil || string(there) != seen[0] {
		t.Errorf("ReadMarker: %q, %v", there, err)
	}
}

func (s *suite) health(t *testing.T) {
	b := s.open(t)
	if err := b.Health(t.Context()); err != nil {
		t.Errorf("Health of an empty place: %v", err)
	}
	mustPut(t, b, known([]byte("a blob")))
	if err := b.Health(t.Context()); err != nil {
		t.Errorf("Health: %v", err)
	}
}
