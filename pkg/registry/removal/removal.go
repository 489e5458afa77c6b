// Package removal is the only way in which blobs leave a backend, whatever
// decides that they may: rows that are written before a delete, and the protocol
// that keeps the log from ever naming what is gone, even if any process stores the
// same bytes at any moment:
//
//	removal                                      publish
//	1 under the lock of the log's head:          a  store every blob
//	  nothing keeps it? then write a row         b  under the lock of the log's head:
//	2 no session has a claim?                       no row for any blob? then append the event
//	3 still old? then delete the object             else let go of the lock, and for each row:
//	4 say in the row that it is over             c  wait until it is over, look at the object (Head);
//	                                                there: remove the row; gone: it must be sent again
//	                                             d  continue at a
//
// Both decide under the same lock, so one comes first. If publish does, the
// removal sees the location and keeps the blob. If the removal does, publish
// sees the row, and continues only after it has seen the object at a time when
// no delete was under way and none could begin, because the row was there; a
// later removal begins at 1. So a row may be removed only by c, or when nothing
// depends on it: it has been over for longer than a publish without a session may take,
// and no session has the blob.
//
// A package that is published by one request has no session, and no row before step b.
// None of this relies on an object's age or on a session's rows. Those (2, 3 and
// what the caller looks at before 1) only make it rare that a client has to send
// bytes twice. A removal whose process died leaves rows that are over after Life.
// By then its last request was answered or timed out long ago. ADR 0012 has the
// argument.
package removal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// MaxBatch is how many blobs one Remove takes at most: they share their rows' transactions.
	MaxBatch = 64
	// concurrency is how many of a batch are removed at a time.
	concurrency = 8
	// workTime is how long after a batch's rows were written its last request
	// begins at the latest, and deleteTime how long that may last.
	workTime   = 3 * time.Minute
	deleteTime = time.Minute
	// Life is the life of a row whose removal died. What is left of it above
	// workTime + deleteTime is for servers that act late on a request and for
	// processes whose clocks differ.
	Life = 10 * time.Minute
)

// Ledger runs transactions; the service's core is one.
type Ledger interface {
	Read(ctx context.Context, fn func(tx database.Tx) error) error
	Write(ctx context.Context, fn func(tx database.Tx) error) error
	// Append runs decide under the lock of the log's head.
	Append(ctx context.Context, decide eventlog.Decide) error
}

// Place is where the blobs are.
type Place interface {
	Head(ctx context.Context, name digest.Digest) (storage.Info, error)
	Delete(ctx context.Context, name digest.Digest) error
}

// Policy says what may go.
type Policy interface {
	// Same fails unless the place still is the backend's.
	Same(ctx context.Context) error
	// Kept returns those of the blobs that must stay. It runs under the lock of
	// the log's head, before the rows are written.
	Kept(ctx context.Context, tx database.Tx, blobs []digest.Digest) (map[digest.Digest]bool, error)
	// Claimed returns those that a session relies on. It runs after the rows are
	// written, so that a session either has its claim by then or began after them.
	Claimed(ctx context.Context, tx database.Tx, blobs []digest.Digest) (map[digest.Digest]bool, error)
	// IsYoung is asked right before the delete, with the place's own time of the object.
	IsYoung(modified time.Time) bool
}

// Remover removes blobs from one backend. Several may work at a time, in any processes.
type Remover struct {
	Ledger    Ledger
	Now       func() time.Time
	BackendID string
	Place     Place
	Policy    Policy
}

// Outcome is what became of one blob.
type Outcome int

// The outcomes.
const (
	// Removed: it is gone.
	Removed Outcome = iota
	// Claimed: it stays, because the policy keeps it, a session relies on it, or
	// another removal is working on it.
	Claimed
	// Young: it was stored again recently, and stays.
	Young
	// Failed: Err says why. It may be gone all the same.
	Failed
)

// Result is what became of one blob.
type Result struct {
	Outcome Outcome
	Err     error // of Failed

	sent bool // a delete may have reached the place
}

// Remove removes at most MaxBatch blobs, and says of each what became of it. An
// error means that what became of them is not known.
func (r *Remover) Remove(ctx context.Context, blobs []digest.Digest) (map[digest.Digest]Result, error) {
	if err := r.Policy.Same(ctx); err != nil {
		return nil, err
	}
	batch := uuid.NewString()
	began := time.Now() // before the rows: what follows ends before they do
	mine, err := r.begin(ctx, batch, blobs)
	if err != nil {
		return nil, err
	}
	working, cancel := context.WithDeadline(ctx, began.Add(workTime))
	defer cancel()
	claimed, err := r.claimed(working, blobs)
	if err != nil {
		return nil, errors.Join(err, r.end(ctx, batch, nil))
	}
	for sha := range claimed {
		delete(mine, sha)
	}
	results := r.removeAll(working, blobs, mine)
	var unknown []digest.Digest // what became of the delete
	for sha, result := range results {
		if result.sent && result.Err != nil {
			unknown = append(unknown, sha)
		}
	}
	if err := r.end(ctx, batch, unknown); err != nil {
		return nil, err
	}
	return results, nil
}

// begin is step 1. It returns the blobs that are this batch's to remove.
func (r *Remover) begin(ctx context.Context, batch string, blobs []digest.Digest) (map[digest.Digest]bool, error) {
	var mine map[digest.Digest]bool
	err := r.Ledger.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		mine = make(map[digest.Digest]bool, len(blobs))
		kept, err := r.Policy.Kept(ctx, tx, blobs)
		if err != nil {
			return nil, err
		}
		var free []digest.Digest
		for _, sha := range blobs {
			if !kept[sha] {
				free = append(free, sha)
			}
		}
		now := r.Now()
		begun, err := begin(ctx, tx, r.BackendID, batch, free, now, now.Add(Life))
		for _, sha := range begun {
			mine[sha] = true
		}
		return nil, err
	})
	return mine, err
}

// claimed is step 2.
func (r *Remover) claimed(ctx context.Context, blobs []digest.Digest) (claimed map[digest.Digest]bool, err error) {
	err = r.Ledger.Read(ctx, func(tx database.Tx) error {
		claimed, err = r.Policy.Claimed(ctx, tx, blobs)
		return err
	})
	return claimed, err
}

// removeAll is step 3 for those of the blobs that may go.
func (r *Remover) removeAll(ctx context.Context, blobs []digest.Digest, may map[digest.Digest]bool) map[digest.Digest]Result {
	var (
		mu      sync.Mutex
		results = make(map[digest.Digest]Result, len(blobs))
		group   errgroup.Group
	)
	group.SetLimit(concurrency)
	for _, sha := range blobs {
		group.Go(func() error {
			result := Result{Outcome: Claimed}
			if may[sha] {
				result = r.removeOne(ctx, sha)
			}
			mu.Lock()
			defer mu.Unlock()
			results[sha] = result
			return nil
		})
	}
	_ = group.Wait() // they return none
	return results
}

func (r *Remover) removeOne(ctx context.Context, sha digest.Digest) Result {
	info, err := r.Place.Head(ctx, sha)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Result{} // another removal, or the writer of the object, was faster
	case err != nil:
		return Result{Outcome: Failed, Err: err}
	case r.Policy.IsYoung(info.Modified):
		return Result{Outcome: Young}
	case ctx.Err() != nil:
		return Result{Outcome: Failed, Err: ctx.Err()}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime) // an answer is worth more than an early end
	defer cancel()
	if err := r.Place.Delete(ctx, sha); err != nil {
		return Result{Outcome: Failed, Err: err, sent: true}
	}
	return Result{sent: true}
}

// end is step 4. If it fails the rows' time runs out.
func (r *Remover) end(ctx context.Context, batch string, unknown []digest.Digest) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime)
	defer cancel()
	return r.Ledger.Write(ctx, func(tx database.Tx) error { return end(ctx, tx, r.BackendID, batch, unknown) })
}
