package core

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// suspectTimeout bounds what a reader waits for the row of a suspect.
const suspectTimeout = 5 * time.Second

// damage are errors that only an object can cause.
var damage = []error{registry.ErrFailedLocation, storage.ErrNotFound, storage.ErrRange, storage.ErrMismatch}

// elsewhere are errors that say nothing of an object.
var elsewhere = []error{storage.ErrUnreachable, storage.ErrNoPlace, storage.ErrThrottled, context.Canceled, context.DeadlineExceeded}

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// Suspect has an object verified soon that could not be read as the log says, and
// reports whether the error is about the object: if it may be about the place, the
// identity object is read to find out.
func (c *Core) Suspect(ctx context.Context, b placement.Backend, blob digest.Digest, why error) bool {
	damaged := isAny(why, damage)
	if ctx.Err() != nil || !damaged && isAny(why, elsewhere) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), suspectTimeout)
	defer cancel()
	known := false
	err := c.Read(ctx, func(tx database.Tx) error {
		doubts, err := doubt.Find(ctx, tx, []digest.Digest{blob})
		known = slices.Contains(doubts[blob], b.ID)
		return err
	})
	if err == nil && !known {
		if !damaged && c.CheckMarker(ctx, b) != nil {
			return false
		}
		err = c.noteSuspect(ctx, doubt.Row{BackendID: b.ID, SHA256: blob, Reason: doubt.Suspect, Detail: why.Error(), Since: c.Now(), Due: c.Now()})
	}
	if err != nil {
		c.Logger.WarnContext(ctx, "noting an object to be verified", "digest", blob.String(), "error", err)
	}
	return damaged || err == nil
}

func (c *Core) noteSuspect(ctx context.Context, row doubt.Row) error {
	return c.Write(ctx, func(tx database.Tx) error {
		head, err := eventlog.HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		row.Position = head.Position
		return doubt.NoteNew(ctx, tx, []doubt.Row{row})
	})
}
