// Package faulty wraps a backend and makes chosen calls fail, for tests of the layers
// above.
package faulty

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Backend is a backend with faults. Methods without faults pass through. Faults may be
// changed while the backend is in use.
type Backend struct {
	storage.Backend

	mu     sync.Mutex
	faults Faults
	calls  Calls
}

// Faults says which calls fail; the zero value is none. A nil function or error leaves
// its call alone.
type Faults struct {
	// PutBefore fails Put before anything is stored.
	PutBefore func(storage.Source) error
	// PutAfter fails Put after the bytes are stored: a lost answer.
	PutAfter func(storage.Info) error
	// Get fails Get and Head.
	Get func(digest.Digest) error
	// Delete fails Delete.
	Delete func(digest.Digest) error
	// Health fails Health.
	Health error
	// Corrupt names blobs of which Get returns one bit turned.
	Corrupt map[digest.Digest]bool
	// CutOff names blobs of which Get returns only the first bytes, and then
	// fails like a lost connection.
	CutOff map[digest.Digest]int64
	// Missing names blobs that Get and Head do not find, and that List omits.
	Missing map[digest.Digest]bool
}

// Calls counts the calls of the wrapper.
type Calls struct{ Put, Get, Head, Delete int }

var _ storage.Backend = (*Backend)(nil)

// Wrap returns backend without faults.
func Wrap(backend storage.Backend) *Backend { return &Backend{Backend: backend} }

// Set replaces all faults. A caller that keeps changing its maps must pass copies.
func (b *Backend) Set(faults Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = faults
}

// Calls returns the counts so far.
func (b *Backend) Calls() Calls {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

func (b *Backend) count(field func(*Calls) *int) Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	*field(&b.calls)++
	return b.faults
}

// Put implements storage.Store.
func (b *Backend) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	faults := b.count(func(c *Calls) *int { return &c.Put })
	if faults.PutBefore != nil {
		if err := faults.PutBefore(src); err != nil {
			return storage.Info{}, err
		}
	}
	info, err := b.Backend.Put(ctx, src)
	if err == nil && faults.PutAfter != nil {
		if err := faults.PutAfter(info); err != nil {
			return storage.Info{}, err
		}
	}
	return info, err
}

func (f Faults) reading(name digest.Digest) error {
	if f.Missing[name] {
		return fmt.Errorf("%s: %w", name, storage.ErrNotFound)
	}
	if f.Get != nil {
		return f.Get(name)
	}
	return nil
}

// Get implements storage.Store.
func (b *Backend) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	faults := b.count(func(c *Calls) *int { return &c.Get })
	if err := faults.reading(name); err != nil {
		return nil, storage.Info{}, err
	}
	r, info, err := b.Backend.Get(ctx, name, rng)
	if err != nil {
		return r, info, err
	}
	if faults.Corrupt[name] {
		r = &corrupted{ReadCloser: r}
	}
	if rest, ok := faults.CutOff[name]; ok {
		r = &cutOff{ReadCloser: r, rest: rest}
	}
	return r, info, nil
}

// Head implements storage.Store.
func (b *Backend) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	faults := b.count(func(c *Calls) *int { return &c.Head })
	if err := faults.reading(name); err != nil {
		return storage.Info{}, err
	}
	return b.Backend.Head(ctx, name)
}

// Delete implements storage.Store.
func (b *Backend) Delete(ctx context.Context, name digest.Digest) error {
	faults := b.count(func(c *Calls) *int { return &c.Delete })
	if faults.Delete != nil {
		if err := faults.Delete(name); err != nil {
			return err
		}
	}
	return b.Backend.Delete(ctx, name)
}

// Health implements storage.Store.
func (b *Backend) Health(ctx context.Context) error {
	b.mu.Lock()
	failed := b.faults.Health
	b.mu.Unlock()
	if failed != nil {
		return failed
	}
	return b.Backend.Health(ctx)
}
