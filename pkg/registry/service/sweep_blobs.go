package service

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
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// How a blob is removed without the log ever naming what is gone, whoever
// stores the same bytes at whatever moment, in whichever process:
//
//	sweep                                        publish
//	1 under the lock of the log's head:          a  store every blob
//	  no location? then write a row (sweeping)   b  under the lock of the log's head:
//	2 no session has a claim?                       no row for any blob? then append the event
//	3 still old? then delete the object             else let go of the lock, and for each row:
//	4 say in the row that it is over             c  wait until it is over, look at the object (Head);
//	                                                there: remove the row; gone: it must be sent again
//	                                             d  go on at a
//
// Both decide under the same lock, so one comes first. If publish does, the
// sweep sees the location and lets the blob be. If the sweep does, publish sees
// the row, and goes on only after it has seen the object at a time when no
// delete was under way, and none could begin because the row stood; a later
// sweep begins at 1. So a row may only be removed by c, or when it is of no
// concern to anyone: long over, and of a blob that no session has.
//
// Nothing of this relies on an object's age or on a session's rows. Those (2, 3
// and the looks before 1) only make it rare that a client has to send something
// twice. A sweep that died leaves rows that are over after sweepLife; by then the
// last request that it sent has been answered or has timed out long ago.
const (
	// sweepBatch of blobs share their rows' transactions.
	sweepBatch = 64
	// sweepConcurrency is how many of a batch are removed at a time.
	sweepConcurrency = 8
	// sweepTime is how long after a batch's rows were written its last request
	// begins at the latest, and deleteTime how long that may last.
	sweepTime  = 3 * time.Minute
	deleteTime = time.Minute
	// sweepLife is the life of a row whose sweep died. What is left of it
	// above sweepTime + deleteTime is for servers that act late on a request and for processes
	// whose clocks differ.
	sweepLife = 10 * time.Minute
)

// remove removes a batch of blobs of which nobody seems to know.
func (w *sweep) remove(ctx context.Context, batch []storage.Info) error {
	if err := w.service.checkMarker(ctx, w.backend); err != nil {
		return err
	}
	names := make([]digest.Digest, len(batch))
	for i, info := range batch {
		names[i] = info.Digests.SHA256
	}
	id := uuid.NewString()
	began := time.Now() // before the rows: what follows ends before they do
	mine, err := w.begin(ctx, id, names)
	if err != nil {
		return err
	}
	working, cancel := context.WithDeadline(ctx, began.Add(sweepTime))
	defer cancel()
	claimed, err := w.claims(working, names)
	if err != nil {
		return errors.Join(err, w.end(ctx, id, nil))
	}
	var (
		mu      sync.Mutex
		unknown []digest.Digest // what became of the delete
		results = make(map[digest.Digest]result, len(batch))
		group   errgroup.Group
	)
	group.SetLimit(sweepConcurrency)
	for _, sha := range names {
		group.Go(func() error {
			r := result{outcome: outcomeClaimed}
			if mine[sha] && !claimed[sha] {
				r = w.removeOne(working, sha)
			}
			mu.Lock()
			defer mu.Unlock()
			results[sha] = r
			if r.sent && r.err != nil {
				unknown = append(unknown, sha)
			}
			return nil
		})
	}
	_ = group.Wait() // they return none
	if err := w.end(ctx, id, unknown); err != nil {
		return err
	}
	for _, info := range batch {
		r := results[info.Digests.SHA256]
		if r.outcome != "" {
			w.found(blobOrphan(info), r.outcome)
		} else if err := w.ended(ctx, blobOrphan(info), r.err); err != nil {
			return err
		}
	}
	return nil
}

// begin is step 1. It returns the blobs that are this batch's to remove.
func (w *sweep) begin(ctx context.Context, id string, names []digest.Digest) (map[digest.Digest]bool, error) {
	var mine map[digest.Digest]bool
	err := w.service.append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		mine = make(map[digest.Digest]bool, len(names))
		located, err := view.FindLocated(ctx, tx, w.backend.ID, names)
		if err != nil {
			return nil, err
		}
		var unknown []digest.Digest
		for _, sha := range names {
			if !located[sha] {
				unknown = append(unknown, sha)
			}
		}
		now := w.service.now()
		begun, err := upload.BeginSweep(ctx, tx, w.backend.ID, id, unknown, now, now.Add(sweepLife))
		for _, sha := range begun {
			mine[sha] = true
		}
		return nil, err
	})
	return mine, err
}

// claims is step 2: with the rows there, so that a session either has its claim by now or began after them.
func (w *sweep) claims(ctx context.Context, names []digest.Digest) (claimed map[digest.Digest]bool, err error) {
	err = w.service.read(ctx, func(tx database.Tx) error {
		claimed, err = upload.FindClaimed(ctx, tx, w.backend.ID, names)
		return err
	})
	return claimed, err
}

// end is step 4. If it fails the rows' time runs out.
func (w *sweep) end(ctx context.Context, id string, unknown []digest.Digest) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime)
	defer cancel()
	return w.service.write(ctx, func(tx database.Tx) error { return upload.EndSweep(ctx, tx, w.backend.ID, id, unknown) })
}

// result of removing one blob. sent: a delete may have reached the place.
type result struct {
	outcome string // "" if it was removed or that failed
	sent    bool
	err     error
}

// removeOne is step 3.
func (w *sweep) removeOne(ctx context.Context, sha digest.Digest) result {
	info, err := w.store.Head(ctx, sha)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return result{} // another sweep, or whoever put it there, was faster
	case err != nil:
		return result{err: err}
	case w.isYoung(info.Modified):
		return result{outcome: outcomeTooYoung}
	case ctx.Err() != nil:
		return result{err: ctx.Err()}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime) // an answer is worth more than an early end
	defer cancel()
	return result{sent: true, err: w.store.Delete(ctx, sha)}
}
