package reading

import (
	"context"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// What an access decision needs to know about a blob, a session or a backend:
// see access.Index, which the Service implements.

// UploadProducer returns the producer of a session's package, whatever the
// session's state. ErrNotFound.
func (r *Reader) UploadProducer(ctx context.Context, id string) (producer string, err error) {
	if _, err := uuid.Parse(id); err != nil {
		return "", registry.ErrNotFound
	}
	err = r.core.Read(ctx, func(tx database.Tx) error {
		session, err := upload.Get(ctx, tx, id)
		producer = session.Producer
		return err
	})
	return producer, err
}

// Holds reports whether a published package of the producer has the blob.
func (r *Reader) Holds(ctx context.Context, producer string, name digest.Digest) (holds bool, err error) {
	err = r.core.Read(ctx, func(tx database.Tx) error {
		sha256, err := view.SHA256Of(ctx, tx, name)
		if err == nil {
			holds, err = view.Holds(ctx, tx, producer, sha256)
		}
		return err
	})
	return holds, core.IgnoreNotFound(err)
}

// Holders returns producers whose published packages have the blob, at most limit.
func (r *Reader) Holders(ctx context.Context, name digest.Digest, limit int) (producers []string, err error) {
	err = r.core.Read(ctx, func(tx database.Tx) error {
		sha256, err := view.SHA256Of(ctx, tx, name)
		if err == nil {
			producers, err = view.ListHolders(ctx, tx, sha256, limit)
		}
		return err
	})
	return producers, core.IgnoreNotFound(err)
}

// Producers returns those that have published, in the order of listings, from
// the given one on ("": from the first), at most limit.
func (r *Reader) Producers(ctx context.Context, from string, limit int) (producers []string, err error) {
	err = r.core.Read(ctx, func(tx database.Tx) (err error) {
		producers, err = view.ListProducers(ctx, tx, from, limit)
		return err
	})
	return producers, err
}

// BackendName returns the name of a declared backend by its name or id. ErrNotFound.
func (r *Reader) BackendName(nameOrID string) (string, error) {
	b, err := r.core.FindBackend(nameOrID)
	return b.Name, err
}
