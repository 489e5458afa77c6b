// Package verify re-reads blobs and tells what became of them.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Finding is one of three different things, and fine. "Could not be read" says
// nothing about the bytes.
type Finding string

// The findings.
const (
	Intact      Finding = "intact"
	Corrupt     Finding = "corrupt"
	Missing     Finding = "missing"
	Unreachable Finding = "unreachable"
)

// Want is what a blob should be.
type Want struct {
	Digests digest.Dual
	Size    int64
}

// Result is what it was found to be. Detail is a sentence, "" if Intact.
type Result struct {
	Want
	Finding Finding
	Detail  string
	Read    int64 // bytes
}

// Object re-reads one blob to its end and recomputes both digests. What looks
// bad is read twice before it is called so: a connection can corrupt as well.
func Object(ctx context.Context, store storage.Store, want Want) Result {
	result := readOnce(ctx, store, want)
	if result.Finding == Corrupt || result.Finding == Missing {
		again := readOnce(ctx, store, want)
		again.Read += result.Read
		return again
	}
	return result
}

func readOnce(ctx context.Context, store storage.Store, want Want) Result {
	result := Result{Want: want}
	body, _, err := store.Get(ctx, want.Digests.SHA256, nil)
	if err != nil {
		return result.unread(err)
	}
	got, n, err := digest.Copy(io.Discard, body)
	result.Read = n
	err = errors.Join(err, body.Close())
	switch {
	case err != nil:
		return result.unread(err)
	case n != want.Size:
		result.Finding, result.Detail = Corrupt, fmt.Sprintf("%d bytes, want %d", n, want.Size)
	case got != want.Digests:
		result.Finding, result.Detail = Corrupt, "the bytes are "+got.String()
	default:
		result.Finding = Intact
	}
	return result
}

func (r Result) unread(err error) Result {
	r.Finding, r.Detail = Unreachable, err.Error()
	if errors.Is(err, storage.ErrNotFound) {
		r.Finding, r.Detail = Missing, "the backend has no such object"
	}
	return r
}

// Objects re-reads wants, at most concurrency at a time, and calls yield for
// each from one goroutine, in no certain order. It ends early when ctx ends or
// yield fails, and returns that error.
func Objects(ctx context.Context, store storage.Store, wants []Want, concurrency int, yield func(Result) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, results := make(chan Want), make(chan Result)
	var workers sync.WaitGroup
	for range min(concurrency, len(wants)) {
		workers.Go(func() {
			for want := range work {
				result := Object(ctx, store, want)
				select {
				case results <- result:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	go func() {
		defer close(results)
		defer workers.Wait()
		defer close(work)
		for _, want := range wants {
			select {
			case work <- want:
			case <-ctx.Done():
				return
			}
		}
	}()
	for result := range results {
		// What the end of ctx broke off is no finding at all.
		if ctx.Err() != nil {
			continue
		}
		if err := yield(result); err != nil {
			cancel(err)
		}
	}
	return context.Cause(ctx)
}
