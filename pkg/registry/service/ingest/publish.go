package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// publishAttempts: between the moment the session is read and the moment the
// head is locked, a reused location can fail verification, and the session can
// be changed or sealed by another request.
const publishAttempts = 3

// errMoved: the session or a reused location is no longer what the publication was built on.
var errMoved = errors.New("what is being published has changed meanwhile")

// Publish implements registry.Uploads.
func (in *Intake) Publish(ctx context.Context, id string, sent []byte) (registry.Publication, error) {
	return in.PublishAlso(ctx, id, sent, nil)
}

// Also is what someone else decides together with a publication, as to set a
// tag: it checks what must hold, and returns what happens beside. It runs under
// the lock of the log's head, after the publication's own checks; the views do
// not show the package yet. It may run more than once, so it must have no effect
// but through tx.
type Also func(ctx context.Context, tx database.Tx) ([]event.Payload, error)

// PublishAlso is Publish with also, which may be nil. The events of also follow
// those of the publication in the same append, under the same actor. An error of
// also refuses both, and the session stays open. also runs too if the version is
// there with the same content, and then its events may be the only ones. It does
// not run if this session is published already: its events were appended then.
//
// Order of writes: every blob of the package is durable in the placement, then
// the manifest's, then the events.
func (in *Intake) PublishAlso(ctx context.Context, id string, sent []byte, also Also) (registry.Publication, error) {
	patience := in.SweptPatience
	for attempt := 1; ; {
		publication, err := in.publish(ctx, id, sent, also)
		if swept, ok := errors.AsType[*sweptError](err); ok {
			// No attempt is used up: each round settles some blobs, or waits.
			if err := in.settle(ctx, swept, &patience); err != nil {
				return registry.Publication{}, err
			}
			continue
		}
		if attempt < publishAttempts && errors.Is(err, errMoved) {
			attempt++
			continue
		}
		return publication, err
	}
}

func (in *Intake) publish(ctx context.Context, id string, sent []byte, also Also) (registry.Publication, error) {
	draft, err := in.draft(ctx, id)
	if err != nil {
		return registry.Publication{}, err
	}
	if draft.encoded == nil { // published before
		return draft.published, sameManifest(sent, draft.published)
	}
	if sent != nil && !bytes.Equal(sent, draft.encoded) {
		return registry.Publication{}, manifestDiffers(sent, draft)
	}
	store, err := in.writable(draft.session.BackendID, draft.session.BackendName)
	if err != nil {
		return registry.Publication{}, err
	}
	if err := in.copyMissing(ctx, draft, store); err != nil {
		return registry.Publication{}, err
	}
	if _, err := in.put(ctx, store, storage.Source{
		Reader: bytes.NewReader(draft.encoded), Size: int64(len(draft.encoded)), Want: digest.Of(draft.encoded), Tier: draft.session.Tier,
	}); err != nil {
		return registry.Publication{}, fmt.Errorf("storing the manifest of %s: %w", draft.ref(), err)
	}
	return in.seal(ctx, draft, also)
}
