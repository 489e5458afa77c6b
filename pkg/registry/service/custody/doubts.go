package custody

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

const (
	// doubtInterval: what a reader found missing is verified within a minute.
	doubtInterval = 15 * time.Second
	// doubtsAtOnce are looked at in one round.
	doubtsAtOnce = 100
	// unreadableAgain is when an object that could not be read is tried again,
	// placeAgain when its place did not answer.
	unreadableAgain = time.Hour
	placeAgain      = time.Minute
)

// LookAtDoubts verifies the objects in doubt whose time has come, on one replica at a time.
func (k *Keeper) LookAtDoubts(ctx context.Context) error {
	due, err := k.listDue(ctx)
	if err != nil || len(due) == 0 {
		return err
	}
	held, free, err := k.lease(ctx, "doubts")
	if errors.Is(err, errLeased) {
		return nil
	}
	if err != nil {
		return err
	}
	defer free()
	for _, d := range due {
		if err := k.lookAtDoubt(held, d); err != nil {
			return err
		}
	}
	return k.core.Write(held, func(tx database.Tx) error { return doubt.ForgetPast(held, tx) })
}

func (k *Keeper) listDue(ctx context.Context) (due []doubt.Due, err error) {
	err = k.core.Read(ctx, func(tx database.Tx) error {
		due, err = doubt.ListDue(ctx, tx, k.core.Now(), doubtsAtOnce)
		return err
	})
	return due, err
}

// lookAtDoubt reads one object, twice if it looks damaged, and records what it finds.
func (k *Keeper) lookAtDoubt(ctx context.Context, d doubt.Due) error {
	var head eventlog.Head
	if err := k.core.Write(ctx, func(tx database.Tx) (err error) {
		// First: an object whose reading ends the process must not be the first again.
		if err = doubt.Postpone(ctx, tx, d.BackendID, d.Digests.SHA256, k.core.Now().Add(placeAgain)); err != nil {
			return err
		}
		head, err = eventlog.HeadTx(ctx, tx)
		return err
	}); err != nil {
		return err
	}
	backend, err := k.core.Placer.Open(d.BackendID)
	if err != nil || backend.Store == nil {
		return nil
	}
	result := verify.Object(ctx, backend.Store, d.Want, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if result.Finding != verify.Intact && k.core.CheckMarker(ctx, backend) != nil {
		return nil // it is the place, not the blob
	}
	found := registry.VerifyFindings{Position: head.Position}
	switch sha := d.Digests.SHA256; result.Finding {
	case verify.Intact:
		found.Verified = []digest.Digest{sha}
	case verify.Unreadable:
		found.Unreadable = []verify.UnreadableLocation{{SHA256: sha, Detail: verify.Bounded(result.Detail)}}
	default:
		found.Failed = []verify.FailedLocation{{SHA256: sha, Reason: string(result.Finding), Detail: verify.Bounded(result.Detail)}}
		k.core.Logger.ErrorContext(ctx, "an object in doubt is damaged", "backend", backend.Name, "digest", sha.String(), "reason", string(result.Finding))
	}
	_, err = k.RecordFindings(registry.WithActor(ctx, operator), d.BackendID, found)
	return err
}

// settle keeps the doubts: what was found of the bytes ends them, what could not be
// read begins one.
func (k *Keeper) settle(ctx context.Context, tx database.Tx, backendID string, n news, position uint64) error {
	now := k.core.Now()
	rows := make([]doubt.Row, len(n.unreadable))
	unreadable := make(map[digest.Digest]bool, len(rows))
	for i, u := range n.unreadable {
		unreadable[u.SHA256] = true
		rows[i] = doubt.Row{BackendID: backendID, SHA256: u.SHA256, Reason: doubt.Unreadable, Detail: u.Detail,
			Position: position, Since: now, Verified: u.verified, Due: now.Add(unreadableAgain)}
	}
	var settled []digest.Digest
	for _, d := range n.holding {
		if !unreadable[d] {
			settled = append(settled, d)
		}
	}
	if err := doubt.Forget(ctx, tx, backendID, settled); err != nil {
		return err
	}
	return doubt.Note(ctx, tx, rows)
}
