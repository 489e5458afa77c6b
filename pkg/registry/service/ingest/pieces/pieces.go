// Package pieces reads files that come in several requests: the bytes of one that may
// break off, and the parts that were kept.
package pieces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// BrokenOff ends without an error where its reader fails, and keeps the error, so
// that a store keeps the bytes before it.
type BrokenOff struct {
	From io.Reader
	Err  error // how it ended; io.EOF at its end
}

func (b *BrokenOff) Read(p []byte) (int, error) {
	if b.Err != nil {
		return 0, io.EOF
	}
	n, err := b.From.Read(p)
	if b.Err = err; err != nil {
		err = io.EOF
	}
	return n, err
}

// Reader reads parts one after the other.
type Reader struct {
	ctx   context.Context
	store storage.Store
	parts []upload.Part
	open  io.ReadCloser
	lost  atomic.Bool // a part is not there
}

// NewReader reads the parts from the store that has them.
func NewReader(ctx context.Context, store storage.Store, parts []upload.Part) *Reader {
	return &Reader{ctx: ctx, store: store, parts: parts}
}

// Lost reports whether a part is not there any more.
func (r *Reader) Lost() bool { return r.lost.Load() }

func (r *Reader) Read(p []byte) (int, error) {
	for {
		if r.open == nil {
			if len(r.parts) == 0 {
				return 0, io.EOF
			}
			body, _, err := r.store.Get(r.ctx, r.parts[0].SHA256, nil)
			if err != nil {
				r.lost.Store(errors.Is(err, storage.ErrNotFound))
				return 0, fmt.Errorf("reading a part back: %w", err)
			}
			r.open, r.parts = body, r.parts[1:]
		}
		n, err := r.open.Read(p)
		if err == io.EOF {
			err = r.open.Close()
			r.open = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close ends the part being read.
func (r *Reader) Close() error {
	if r.open == nil {
		return nil
	}
	return r.open.Close()
}

// Timed measures how long a reader waits for its bytes. For one goroutine.
type Timed struct {
	From  io.Reader
	spent time.Duration
}

func (t *Timed) Read(p []byte) (int, error) {
	began := time.Now()
	n, err := t.From.Read(p)
	t.spent += time.Since(began)
	return n, err
}

// Within reports whether the rest comes within a time, as fast as what was read.
func (t *Timed) Within(limit time.Duration, read, rest int64) bool {
	return t.spent.Seconds()*float64(rest) <= limit.Seconds()*float64(read)
}
