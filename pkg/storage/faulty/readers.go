package faulty

import (
	"context"
	"io"
	"iter"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// corrupted turns the lowest bit of the first byte. An empty blob stays unchanged.
type corrupted struct {
	io.ReadCloser
	done bool
}

func (r *corrupted) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 && !r.done {
		p[0] ^= 1
		r.done = true
	}
	return n, err
}

// cutOff ends early, like a lost connection.
type cutOff struct {
	io.ReadCloser
	rest int64
}

func (r *cutOff) Read(p []byte) (int, error) {
	if r.rest <= 0 {
		return 0, &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonConnectionLost,
			Message: "the connection was lost"}
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.rest)])
	r.rest -= int64(n)
	return n, err
}

// List implements storage.Store.
func (b *Backend) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		b.mu.Lock()
		missing := b.faults.Missing
		b.mu.Unlock()
		for info, err := range b.Backend.List(ctx) {
			if err == nil && missing[info.Digests.SHA256] {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}
