// Package mem stores blobs in memory: a small real backend for tests.
package mem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// Backend is a map that implements storage.Backend. Its zero value is empty and ready.
type Backend struct {
	mu       sync.RWMutex
	blobs    map[digest.Digest]blob
	marker   []byte
	headMark []byte
	closed   bool
}

type blob struct {
	data []byte // immutable
	info storage.Info
}

var _ storage.Backend = (*Backend)(nil)

// New returns an empty backend.
func New() *Backend { return &Backend{} }

var errClosed = &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonConnectionLost,
	Message: "the memory backend is closed"}

// Put implements storage.Store.
func (b *Backend) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	var (
		data  bytes.Buffer
		in    = intake.New(src)
		chunk = make([]byte, 64<<10)
	)
	for end := false; !end; {
		n, done, err := in.Fill(ctx, chunk)
		if err != nil {
			return storage.Info{}, err
		}
		data.Write(chunk[:n])
		end = done
	}
	got := digest.Of(data.Bytes())
	if err := src.Check(got, int64(data.Len())); err != nil {
		return storage.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	info := storage.Info{Digests: got, Size: int64(data.Len()), Modified: time.Now()}
	stored := info
	stored.Digests = digest.Dual{SHA256: got.SHA256} // as every driver

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return storage.Info{}, errClosed
	}
	if b.blobs == nil {
		b.blobs = map[digest.Digest]blob{}
	}
	b.blobs[got.SHA256] = blob{data.Bytes(), stored}
	return info, nil
}

func (b *Backend) find(ctx context.Context, name digest.Digest) (blob, error) {
	if err := ctx.Err(); err != nil {
		return blob{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return blob{}, errClosed
	}
	found, ok := b.blobs[name]
	if !ok {
		return blob{}, fmt.Errorf("%s: %w", name, storage.ErrNotFound)
	}
	return found, nil
}

// Get implements storage.Store.
func (b *Backend) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	found, err := b.find(ctx, name)
	if err != nil {
		return nil, storage.Info{}, err
	}
	data := found.data
	if rng != nil {
		if err := rng.Within(found.info.Size); err != nil {
			return nil, storage.Info{}, err
		}
		data = data[rng.Offset : rng.Offset+rng.Length]
	}
	return io.NopCloser(bytes.NewReader(data)), found.info, nil
}

// Head implements storage.Store.
func (b *Backend) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	found, err := b.find(ctx, name)
	return found.info, err
}

// Delete implements storage.Store.
func (b *Backend) Delete(ctx context.Context, name digest.Digest) error {
	if _, err := b.find(ctx, name); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.blobs, name)
	return nil
}

// List implements storage.Store. It lists the blobs that exist when it starts.
func (b *Backend) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		b.mu.RLock()
		infos := make([]storage.Info, 0, len(b.blobs))
		for _, stored := range b.blobs {
			infos = append(infos, stored.info)
		}
		closed := b.closed
		b.mu.RUnlock()
		if closed {
			yield(storage.Info{}, errClosed)
			return
		}
		slices.SortFunc(infos, func(a, b storage.Info) int {
			x, y := a.Digests.SHA256.Sum(), b.Digests.SHA256.Sum()
			return bytes.Compare(x[:], y[:])
		})
		for _, info := range infos {
			if err := ctx.Err(); err != nil {
				yield(storage.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Health implements storage.Store.
func (b *Backend) Health(ctx context.Context) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return errClosed
	}
	return ctx.Err()
}

// ReadMarker implements storage.Marked.
func (b *Backend) ReadMarker(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.marker == nil {
		return nil, fmt.Errorf("%s: %w", storage.MarkerKey, storage.ErrNotFound)
	}
	return bytes.Clone(b.marker), nil
}

// CreateMarker implements storage.Marked.
func (b *Backend) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.marker == nil {
		b.marker = append([]byte{}, marker...)
	}
	return bytes.Clone(b.marker), nil
}

// ReadHeadMark implements storage.Marked.
func (b *Backend) ReadHeadMark(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.headMark == nil {
		return nil, fmt.Errorf("%s: %w", storage.HeadMarkKey, storage.ErrNotFound)
	}
	return bytes.Clone(b.headMark), nil
}

// WriteHeadMark implements storage.Marked.
func (b *Backend) WriteHeadMark(ctx context.Context, mark []byte) (kept bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.headMark = append([]byte{}, mark...)
	return false, nil
}

// Close makes every later call fail.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}
