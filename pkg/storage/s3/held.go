package s3

import (
	"context"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// holds returns the Info of a blob that the caller knows to be here, if an object of
// the declared size says so too. On MinIO a write waits until every reader of the key
// has ended.
func (b *Backend) holds(ctx context.Context, src storage.Source) (storage.Info, bool) {
	if !src.Held || src.Want.SHA256.IsZero() {
		return storage.Info{}, false
	}
	info, err := b.Head(ctx, src.Want.SHA256)
	if err != nil || src.Size != storage.UnknownSize && src.Size != info.Size {
		return storage.Info{}, false
	}
	return info, true
}

// beganOf returns from when on an object counts as written by a request whose outcome is
// unknown: any, if the caller knows that the place has the blob.
func beganOf(src storage.Source) time.Time {
	if src.Held {
		return time.Unix(0, 0)
	}
	return time.Now()
}

// compare reads the source to its end, and fails unless its bytes are those declared:
// they prove that the client has them. It holds one small buffer.
func (b *Backend) compare(ctx context.Context, src storage.Source, in *intake.Intake, info storage.Info) (storage.Info, error) {
	buf, err := b.pool.Small().Get(ctx)
	if err != nil {
		return storage.Info{}, err
	}
	defer b.pool.Small().Put(buf)
	defer shares.Hurry(ctx, b.pool.Small().Crowded(), buffer.LeastRate)()
	hasher := digest.NewHasher()
	for end := false; !end; {
		var n int
		if n, end, err = in.Fill(ctx, buf); err != nil {
			return storage.Info{}, err
		}
		hasher.Write(buf[:n]) //nolint:errcheck // never fails
	}
	src.Size = info.Size
	if err := src.Check(hasher.Sum(), in.Size()); err != nil {
		return storage.Info{}, err
	}
	info.Digests, info.Held = hasher.Sum(), true
	return info, nil
}
