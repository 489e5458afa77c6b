package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/removal"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// sweptPatience is how long a publish waits for sweeps that work on its blobs: a
// batch takes seconds.
const sweptPatience = 15 * time.Second

const (
	// sweptAtOnce are settled in one round.
	sweptAtOnce = 1000
	// sweptPoll is the pause between two looks at a sweep that is not over.
	sweptPoll = 100 * time.Millisecond
)

// sweptError: blobs of the draft are being swept, or were, and must be checked
// before the log may name them.
type sweptError struct {
	draft *draft
	rows  []removal.Row
}

func (e *sweptError) Error() string {
	return fmt.Sprintf("a sweep is removing %d of the blobs, or has", len(e.rows))
}

// checkSwept is step b of what package removal describes.
func (in *Intake) checkSwept(ctx context.Context, tx database.Tx, d *draft) error {
	rows, err := in.sweptRows(ctx, tx, d)
	if err == nil && len(rows) > 0 {
		err = &sweptError{d, rows}
	}
	return err
}

func (in *Intake) sweptRows(ctx context.Context, tx database.Tx, d *draft) ([]removal.Row, error) {
	if d.inSession() {
		return removal.Find(ctx, tx, d.session.BackendID, d.session.ID, d.digest, in.core.Now(), sweptAtOnce)
	}
	return removal.FindBlobs(ctx, tx, d.session.BackendID, d.contents, in.core.Now())
}

// settle is step c. A nil result means: continue at step a.
func (in *Intake) settle(ctx context.Context, swept *sweptError, patience *time.Duration) error {
	d := swept.draft
	over := slices.DeleteFunc(slices.Clone(swept.rows), func(row removal.Row) bool { return !row.Over })
	if len(over) == 0 {
		return in.awaitSweep(ctx, d, patience)
	}
	seen, gone, err := in.lookAt(ctx, d, over)
	if err != nil {
		return err
	}
	if err := in.core.Write(ctx, func(tx database.Tx) error {
		if len(gone) > 0 && d.inSession() {
			if _, err := in.lockSession(ctx, tx, d.session.ID); err != nil {
				return err
			}
		}
		return errors.Join(removal.Forget(ctx, tx, d.session.BackendID, seen, in.core.Now()), upload.DropSwept(ctx, tx, d.session.ID, gone))
	}); err != nil {
		return err
	}
	if len(gone) > 0 && d.inSession() { // without one the next attempt stores them again: they are at hand
		return in.goneError(ctx, d, gone)
	}
	return nil
}

// lookAt finds out which of the swept blobs are there. A missing manifest is not
// reported: each attempt to publish stores it again.
func (in *Intake) lookAt(ctx context.Context, d *draft, swept []removal.Row) (seen []removal.Row, gone []digest.Digest, err error) {
	store, err := in.writable(d.session.BackendID, d.session.BackendName)
	if err != nil {
		return nil, nil, err
	}
	var (
		mu    sync.Mutex
		group errgroup.Group
	)
	group.SetLimit(windowConcurrency)
	for _, row := range swept {
		group.Go(func() error {
			_, err := store.Head(ctx, row.SHA256)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				seen = append(seen, row)
			} else if row.SHA256 != d.digest {
				gone = append(gone, row.SHA256)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, fmt.Errorf("checking what a sweep left in %s: %w", d.session.BackendName, err)
	}
	return seen, gone, nil
}

func (in *Intake) awaitSweep(ctx context.Context, d *draft, patience *time.Duration) error {
	if *patience <= 0 {
		return fmt.Errorf("%w: a sweep of %s is removing blobs that this package needs: publish again", registry.ErrUnavailable, d.session.BackendName)
	}
	*patience -= sweptPoll
	if !backoff.Sleep(ctx, sweptPoll) {
		return ctx.Err()
	}
	return nil
}
