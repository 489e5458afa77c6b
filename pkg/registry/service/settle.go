package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// sweptPatience is how long a publish waits for sweeps that are at work on its
// blobs: a batch takes seconds.
const sweptPatience = 15 * time.Second

const (
	// sweptAtOnce are settled in one round.
	sweptAtOnce = 1000
	// sweptPoll is the time between two looks at a sweep that is not over.
	sweptPoll = 100 * time.Millisecond
)

// sweptError: blobs of the draft were or are being swept, and must be looked at
// before the log may name them.
type sweptError struct {
	draft *draft
	rows  []upload.Sweeping
}

func (e *sweptError) Error() string {
	return fmt.Sprintf("%d blobs were swept or are being swept", len(e.rows))
}

// checkSwept is step b of what sweep_blobs.go describes.
func (s *Service) checkSwept(ctx context.Context, tx database.Tx, d *draft) error {
	rows, err := upload.FindSweeping(ctx, tx, d.session, d.manifestDigest(), s.now(), sweptAtOnce)
	if err == nil && len(rows) > 0 {
		err = &sweptError{d, rows}
	}
	return err
}

// settle is step c. It returns nil if it is worth going on at a.
func (s *Service) settle(ctx context.Context, swept *sweptError, patience *time.Duration) error {
	d := swept.draft
	store, err := s.writable(d.session.BackendID, d.session.BackendName)
	if err != nil {
		return err
	}
	var (
		mu    sync.Mutex
		seen  []upload.Sweeping
		gone  []digest.Digest
		over  bool
		group errgroup.Group
	)
	group.SetLimit(windowConcurrency)
	for _, row := range swept.rows {
		if !row.Over {
			continue
		}
		over = true
		group.Go(func() error {
			_, err := store.Head(ctx, row.SHA256)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				seen = append(seen, row)
			} else if row.SHA256 != d.manifestDigest() { // that one is stored again
				gone = append(gone, row.SHA256)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("looking at what a sweep has left in %s: %w", d.session.BackendName, err)
	}
	if !over {
		return s.awaitSweep(ctx, d, patience)
	}
	if err := s.write(ctx, func(tx database.Tx) error {
		if len(gone) > 0 {
			if _, err := s.lockSession(ctx, tx, d.session.ID); err != nil {
				return err
			}
		}
		return errors.Join(upload.ForgetSweeping(ctx, tx, d.session.BackendID, seen, s.now()), upload.DropSwept(ctx, tx, d.session.ID, gone))
	}); err != nil {
		return err
	}
	if len(gone) > 0 {
		return &registry.IncompleteError{Count: len(gone), Paths: pathsOf(d.manifest, gone)}
	}
	return nil
}

func (s *Service) awaitSweep(ctx context.Context, d *draft, patience *time.Duration) error {
	if *patience <= 0 {
		return fmt.Errorf("%w: %s is being swept of blobs that this package needs; publish again", registry.ErrUnavailable, d.session.BackendName)
	}
	*patience -= sweptPoll
	timer := time.NewTimer(sweptPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
