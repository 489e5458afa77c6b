package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// publishAttempts: between the moment the session is read and the moment the
// head is locked, a reused location can fail verification, and the session can
// be changed or sealed by another request.
const publishAttempts = 3

// errMoved: the session or a reused location has changed since the draft was made.
var errMoved = errors.New("the session or a blob that it reuses changed while it was being published")

// errCopied: blobs were copied to the placement, for which the draft was released.
var errCopied = errors.New("blobs were copied, and the session must be read again")

// Publish implements registry.Uploads.
func (in *Intake) Publish(ctx context.Context, id string, sent []byte) (registry.Publication, error) {
	return in.PublishAlso(ctx, id, sent, nil)
}

// Also is decided together with a publication, for example to set a tag: it
// checks its own preconditions and returns further events. It runs under the
// lock of the log's head, after the publication's own checks; the views do not
// show the package yet. It may run more than once, so it must have no effect
// except through tx.
type Also func(ctx context.Context, tx database.Tx) ([]event.Payload, error)

// PublishAlso is Publish with also, which may be nil. The events of also follow
// those of the publication in the same append, under the same actor. An error of
// also refuses both, and the session stays open. also runs too if the version is
// published with the same content; then its events may be the only ones. It does
// not run if this session is published already: its events were appended then.
//
// Order of writes: every blob of the package is durable in the placement, then
// the manifest's, then the events.
func (in *Intake) PublishAlso(ctx context.Context, id string, sent []byte, also Also) (registry.Publication, error) {
	extras, err := rules.ExtrasOf(sent)
	if err != nil {
		return registry.Publication{}, err
	}
	claim, again := rules.Claim{Bytes: sent, Extras: extras}, false
	return in.untilSettled(ctx, func() (registry.Publication, error) {
		defer func() { again = true }()
		return in.publish(ctx, id, &claim, also, again)
	})
}

// untilSettled tries again after what may have changed by the next attempt.
func (in *Intake) untilSettled(ctx context.Context, try func() (registry.Publication, error)) (registry.Publication, error) {
	patience := in.SweptPatience
	for attempt := 1; ; {
		publication, err := try()
		if swept, ok := errors.AsType[*sweptError](err); ok {
			// No attempt is used up: each round settles some blobs, or waits.
			if err := in.settle(ctx, swept, &patience); err != nil {
				return registry.Publication{}, err
			}
			continue
		}
		if errors.Is(err, errCopied) { // neither here: next time there is nothing to copy
			continue
		}
		if attempt < publishAttempts && errors.Is(err, errMoved) {
			attempt++
			continue
		}
		return publication, err
	}
}

func (in *Intake) publish(ctx context.Context, id string, claim *rules.Claim, also Also, again bool) (registry.Publication, error) {
	draft, err := in.draft(ctx, id, claim.Extras)
	if err != nil {
		return registry.Publication{}, err
	}
	defer draft.release()
	if draft.isPublished() { // before
		return draft.published, claim.CheckPublished(draft.published)
	}
	if err := claim.Check(draft.encoded, draft.digest, draft.inSession()); err != nil {
		return registry.Publication{}, err
	}
	draft.sweepUp()
	store, err := in.writable(draft.session.BackendID, draft.session.BackendName)
	if err != nil {
		return registry.Publication{}, err
	}
	if again { // what the placement had when it was declared may be gone from there
		draft.reused, draft.here = slices.Concat(draft.reused, draft.here), nil
	}
	if err := in.copyMissing(ctx, draft, store); err != nil {
		return registry.Publication{}, err
	}
	if err := in.putManifest(ctx, store, draft); err != nil {
		return registry.Publication{}, err
	}
	return in.seal(ctx, draft, also)
}

func (in *Intake) putManifest(ctx context.Context, store storage.Store, d *draft) error {
	if _, err := in.put(ctx, store, storage.Source{
		Reader: bytes.NewReader(d.encoded), Size: int64(len(d.encoded)), Want: d.digests, Tier: d.session.Tier,
	}); err != nil {
		return fmt.Errorf("storing the manifest of %s: %w", d.ref(), err)
	}
	return nil
}
