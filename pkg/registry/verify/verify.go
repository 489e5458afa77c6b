// Package verify re-reads blobs and reports damage: Object reads one, Run reads
// all that a Ledger lists.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/time/rate"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Finding is one of three different things, and fine. "Could not be read" says
// nothing about the bytes.
type Finding string

// The findings.
const (
	Intact     Finding = "intact"
	Corrupt    Finding = "corrupt"
	Missing    Finding = "missing"
	Unreadable Finding = "unreadable"
)

// Source opens blobs: what reading needs of a storage.Store.
type Source interface {
	Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error)
}

// Want is what a blob should be.
type Want struct {
	Digests digest.Dual `json:"digests"`
	Size    int64       `json:"size"` // in bytes
}

// Result is what it was found to be. Detail is a sentence, "" if Intact.
type Result struct {
	Want
	Finding Finding
	Detail  string
	Read    int64 // bytes
}

// Object re-reads one blob to its end and recomputes both digests. A blob that
// looks damaged is read twice, since a connection can corrupt bytes too. limiter
// bounds the bytes per second; nil is no bound.
func Object(ctx context.Context, source Source, want Want, limiter *rate.Limiter) Result {
	result := readOnce(ctx, source, want, limiter)
	if result.Finding == Corrupt || result.Finding == Missing {
		again := readOnce(ctx, source, want, limiter)
		again.Read += result.Read
		return again
	}
	return result
}

func readOnce(ctx context.Context, source Source, want Want, limiter *rate.Limiter) Result {
	result := Result{Want: want}
	body, _, err := source.Get(ctx, want.Digests.SHA256, nil)
	if err != nil {
		return result.unread(err)
	}
	var reader io.Reader = body
	if limiter != nil {
		reader = &slowReader{ctx, body, limiter}
	}
	got, n, err := digest.Copy(io.Discard, reader)
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
	r.Finding, r.Detail = Unreadable, err.Error()
	if errors.Is(err, storage.ErrNotFound) {
		r.Finding = Missing
		if storage.ReasonOf(err) != storage.ReasonNotAFile { // which says what is there instead
			r.Detail = "the backend has no such object"
		}
	}
	return r
}

// newLimiter makes a limiter of bytes per second; nil for no bound. Its burst is one read.
func newLimiter(bandwidth int64) *rate.Limiter {
	if bandwidth == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bandwidth), readChunk)
}

// slowReader waits for leave before each read.
type slowReader struct {
	ctx     context.Context
	from    io.Reader
	limiter *rate.Limiter
}

func (r *slowReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p[:min(len(p), readChunk)])
	if wait := r.limiter.WaitN(r.ctx, n); wait != nil && err == nil {
		// Also where the deadline would come before the leave: it will come.
		<-r.ctx.Done()
		err = r.ctx.Err()
	}
	return n, err
}
