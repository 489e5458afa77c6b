// Package storagetest tests the storage contract: every driver runs it, and
// every wrapper that should change nothing.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Option gives the suite information about a driver.
type Option func(*suite)

// WithThreshold sets the size in bytes at which the driver changes its way of
// storing: the suite tests sizes around it.
func WithThreshold(size int64) Option { return func(s *suite) { s.threshold = size } }

// WithKeys lists the actual content of the place with the place's own tools: the
// keys of all objects below the backend's prefix, including staged ones, and an
// entry for every unfinished upload.
func WithKeys(keys func(t *testing.T, b storage.Backend) []string) Option {
	return func(s *suite) { s.keys = keys }
}

// WithSecond opens the place of a backend again, as another process would.
func WithSecond(second func(t *testing.T, b storage.Backend) storage.Backend) Option {
	return func(s *suite) { s.second = second }
}

type suite struct {
	open      func(t *testing.T) storage.Backend
	threshold int64
	keys      func(t *testing.T, b storage.Backend) []string
	second    func(t *testing.T, b storage.Backend) storage.Backend
	leave     func(t *testing.T, b storage.Backend) []storage.Orphan
}

// Run tests the contract of the backends that open returns: each call returns a
// new backend in an empty place; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) storage.Backend, options ...Option) {
	s := &suite{
		threshold: 64 << 10,
		second:    func(_ *testing.T, b storage.Backend) storage.Backend { return b },
	}
	s.open = func(t *testing.T) storage.Backend {
		b := open(t)
		held := b
		t.Cleanup(func() {
			// The testing package keeps this function until the whole suite has run;
			// it must not keep the backend's buffers alive.
			defer func() { held = nil }()
			if err := held.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return b
	}
	for _, option := range options {
		option(s)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Sizes", s.sizes},
		{"WrongDigest", s.wrongDigest},
		{"WrongSize", s.wrongSize},
		{"FailingSource", s.failingSource},
		{"CancelledPut", s.cancelledPut},
		{"CancelledBefore", s.cancelledBefore},
		{"PutAgain", s.putAgain},
		{"ConcurrentPuts", s.concurrentPuts},
		{"ManyPutsAtOnce", s.manyPuts},
		{"Ranges", s.ranges},
		{"Missing", s.missing},
		{"Delete", s.deletes},
		{"List", s.list},
		{"ListPages", s.listPages},
		{"Keys", s.layout},
		{"Marker", s.marker},
		{"MarkerRace", s.markerRace},
		{"HeadMark", s.headMark},
		{"Health", s.health},
		{"Orphans", s.orphans},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

// Bytes returns size pseudo-random bytes, which depend only on seed and size.
func Bytes(seed uint64, size int64) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	data := make([]byte, size)
	rand.NewChaCha8(key).Read(data) //nolint:errcheck // never fails
	return data
}

// contents are the suite's blobs by seed and size, created and hashed once: each is
// put several hundred times, the same on every server.
var contents = struct {
	sync.Mutex
	data    map[content][]byte
	digests map[*byte]digest.Dual // by the first byte of data
}{data: map[content][]byte{}, digests: map[*byte]digest.Dual{}}

type content struct {
	seed uint64
	size int64
}

// bytesOf is Bytes for callers that do not modify the result.
func bytesOf(seed uint64, size int64) []byte {
	contents.Lock()
	defer contents.Unlock()
	made := content{seed, size}
	data, found := contents.data[made]
	if !found {
		data = Bytes(seed, size)
		contents.data[made] = data
		if size > 0 {
			contents.digests[&data[0]] = digest.Of(data)
		}
	}
	return data
}

// digestsOf is digest.Of, cached.
func digestsOf(data []byte) digest.Dual {
	if len(data) > 0 {
		contents.Lock()
		digests, found := contents.digests[&data[0]]
		contents.Unlock()
		if found {
			return digests
		}
	}
	return digest.Of(data)
}

// known is a source that declares size and digests.
func known(data []byte) storage.Source {
	return storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data)), Want: digestsOf(data)}
}

// plain hides other methods of a reader: a network connection can only Read.
type plain struct{ io.Reader }

func mustPut(t *testing.T, b storage.Backend, src storage.Source) storage.Info {
	t.Helper()
	info, err := b.Put(t.Context(), src)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return info
}

// mustHold checks that the blob exists and reads back unchanged.
func mustHold(t *testing.T, b storage.Backend, data []byte) {
	t.Helper()
	want := digestsOf(data)
	r, info, err := b.Get(t.Context(), want.SHA256, nil)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	got := bytes.NewBuffer(make([]byte, 0, len(data)+bytes.MinRead))
	_, err = got.ReadFrom(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		t.Fatalf("read back %d bytes that are not the %d that were put", got.Len(), len(data))
	}
	if info.Size != int64(len(data)) || info.Digests.SHA256 != want.SHA256 {
		t.Errorf("Get's info: %d bytes of %s", info.Size, info.Digests.SHA256)
	}
	head, err := b.Head(t.Context(), want.SHA256)
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	if head.Size != int64(len(data)) || head.Digests.SHA256 != want.SHA256 {
		t.Errorf("Head: %d bytes of %s", head.Size, head.Digests.SHA256)
	}
	if since := time.Since(head.Modified); since < -time.Hour || since > time.Hour {
		t.Errorf("Head: modified %s ago", since)
	}
}

// mustBeEmpty checks that nothing is visible and nothing is left behind; for the
// latter it waits, since a server may still be cleaning up.
func (s *suite) mustBeEmpty(t *testing.T, b storage.Backend, gone digest.Digest) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if _, err := b.Head(ctx, gone); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Head of what was refused: %v", err)
	}
	for info, err := range b.List(ctx) {
		t.Errorf("listed: %v %v", info, err)
	}
	if s.keys == nil {
		return
	}
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if left = s.keys(t, b); len(left) == 0 {
			return
		}
		wait := time.NewTimer(20 * time.Millisecond)
		<-wait.C
	}
	t.Errorf("left behind: %q", left)
}
