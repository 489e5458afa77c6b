package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// publishAttempts: between the moment the session is read and the moment
	// the head is locked, a reused location can fail verification, and the
	// session can be changed or sealed by another request.
	publishAttempts = 3
)

// errMoved: the session or a reused location is no longer what the publication was built on.
var errMoved = errors.New("what is being published has changed meanwhile")

// Publish implements Uploads. Order of writes: every blob of the package is
// durable in the placement, then the manifest's, then the event.
func (in *Intake) Publish(ctx context.Context, id string, sent []byte) (registry.Publication, error) {
	patience := in.SweptPatience
	for attempt := 1; ; {
		publication, err := in.publish(ctx, id, sent)
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

func (in *Intake) publish(ctx context.Context, id string, sent []byte) (registry.Publication, error) {
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
	return in.seal(ctx, draft)
}
