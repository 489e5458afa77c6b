package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// putParts uploads the source in parts. Those in begun come first; they are full,
// and putParts releases them. The order matters: all parts are stored, both digests
// match, and only then does the object appear.
func (b *Backend) putParts(ctx context.Context, src storage.Source, in *intake.Intake, begun []*space) (storage.Info, error) {
	defer func() {
		for _, s := range begun {
			s.release()
		}
	}()
	chunk, err := b.partSize(src.Size)
	if err != nil {
		return storage.Info{}, err
	}
	if len(begun) == 0 {
		// Before anything else: an upload that waits for memory should need none for waiting.
		first, err := b.spaceFor(ctx, in, chunk, b.pool.Begin)
		if err != nil {
			return storage.Info{}, err
		}
		begun = []*space{first}
	}
	next := func(ctx context.Context, size int64) (*space, error) {
		if len(begun) > 0 {
			first := begun[0]
			begun = begun[1:]
			return first, nil
		}
		return b.spaceFor(ctx, in, size, b.pool.More)
	}
	if !src.Want.SHA256.IsZero() {
		key := storage.Key(src.Want.SHA256)
		got, err := b.uploadTo(ctx, key, b.classOf(ctx, key, src.Tier), src, in, chunk, next)
		if err != nil {
			return storage.Info{}, err
		}
		return b.confirm(ctx, got, in.Size())
	}
	staging := storage.StagingPrefix + "/" + uuid.NewString()
	// Even after an error: a lost answer to Complete leaves an object.
	defer b.discard(ctx, staging)
	got, err := b.uploadTo(ctx, staging, usualClass, src, in, chunk, next)
	if err != nil {
		return storage.Info{}, err
	}
	if b.config.Promote == PromoteRewrite {
		return b.rewrite(ctx, staging, storage.Source{Size: in.Size(), Want: got, Tier: src.Tier})
	}
	if err := b.promote(ctx, staging, got.SHA256, b.classOf(ctx, storage.Key(got.SHA256), src.Tier), in.Size()); err != nil {
		return storage.Info{}, err
	}
	return b.confirm(ctx, got, in.Size())
}

// CopiesStaged implements storage.Copier.
func (b *Backend) CopiesStaged() bool { return true }

// uploadTo creates an object from the source, or none.
func (b *Backend) uploadTo(ctx context.Context, key string, class types.StorageClass, src storage.Source, in *intake.Intake, chunk int64, next spaces) (digest.Dual, error) {
	u, err := b.begin(ctx, key, class, b.proofOfParts(ctx))
	if err != nil {
		return digest.Dual{}, err
	}
	u.chunk = chunk
	if src.Held {
		u.began = beganOf(src)
	}
	defer u.abortStrays(ctx)
	got, err := u.send(ctx, in, next)
	if err == nil {
		err = src.Check(got, in.Size())
	}
	if err != nil {
		u.abort(ctx)
		return digest.Dual{}, err
	}
	if err := u.finish(ctx, in.Size()); err != nil {
		return digest.Dual{}, err
	}
	return got, nil
}

// confirm checks that the server has assembled the parts correctly; it costs one
// request, on large blobs only. An object of another length is removed if two answers
// agree on it: one may have been damaged in transit.
func (b *Backend) confirm(ctx context.Context, got digest.Dual, size int64) (storage.Info, error) {
	info, err := b.Head(ctx, got.SHA256)
	if err == nil && info.Size != size {
		info, err = b.Head(ctx, got.SHA256)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return storage.Info{}, lost("the server on " + b.place + " did not create the object from its parts")
	case err != nil:
		return storage.Info{}, err
	case info.Size != size:
		b.discard(ctx, storage.Key(got.SHA256))
		return storage.Info{}, lost(fmt.Sprintf("the server on %s created an object of %d bytes instead of %d", b.place, info.Size, size))
	}
	info.Digests = got
	return info, nil
}

// lost says that a server did not do what it reported.
func lost(message string) error {
	return &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonServerFailed, Message: message}
}

// promote makes the server copy verified bytes from staging to their key.
func (b *Backend) promote(ctx context.Context, staging string, name digest.Digest, class types.StorageClass, size int64) error {
	from := b.copySource(staging)
	if size > b.maxCopy {
		return b.promoteParts(ctx, from, name, class, size)
	}
	key, began := storage.Key(name), time.Now()
	err := b.try(ctx, func(ctx context.Context) error {
		_, err := b.client.CopyObject(ctx, &s3.CopyObjectInput{
			Bucket: &b.config.Bucket, Key: b.key(key), CopySource: from,
			StorageClass:         class,
			ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		})
		return err
	}, func(ctx context.Context) (bool, error) { return b.stands(ctx, key, size, began) })
	if ctx.Err() == nil && size > b.copyPart && find(err).reason == storage.ReasonTimedOut {
		// A server that sends nothing while it copies needs smaller pieces.
		return b.promoteParts(ctx, from, name, class, size)
	}
	return b.copyFailed(ctx, classRefused(class, err))
}

// rewrite puts verified bytes from staging under their key. The Put that staged them
// holds no memory any more.
func (b *Backend) rewrite(ctx context.Context, staging string, src storage.Source) (storage.Info, error) {
	answer, err := call(ctx, b, b.client.GetObject, &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: b.key(staging)})
	if err != nil {
		return storage.Info{}, b.copyFailed(ctx, err)
	}
	src.Reader = answer.Body
	in := intake.New(src)
	defer answer.Body.Close() //nolint:errcheck // read to its end, or given up
	defer in.Close()
	info, err := b.putParts(shares.WithSource(ctx, nil), src, in, nil)
	if errors.Is(err, storage.ErrSource) || errors.Is(err, storage.ErrMismatch) {
		return storage.Info{}, lost("the server on " + b.place + " did not return the staged object as it was sent")
	}
	return info, err
}

// copyFailed is failed, except that a missing source is a fault: it existed before.
func (b *Backend) copyFailed(ctx context.Context, err error) error {
	if ctx.Err() == nil && isCode(err, "NoSuchKey") {
		return lost("the server on " + b.place + " has lost the staged object")
	}
	return b.failed(ctx, "copy", err)
}

// promoteParts is promote for blobs that are too large for one request, or take too long.
func (b *Backend) promoteParts(ctx context.Context, from *string, name digest.Digest, class types.StorageClass, size int64) error {
	u, err := b.begin(ctx, storage.Key(name), class, proof{}) // the server copies bytes that it has
	if err != nil {
		return err
	}
	piece := max(b.copyPart, (size+MaxParts-1)/MaxParts)
	for number, at := int32(1), int64(0); at < size; number, at = number+1, at+piece {
		last := min(at+piece, size) - 1
		copied, err := call(ctx, b, b.client.UploadPartCopy, &s3.UploadPartCopyInput{
			Bucket: &b.config.Bucket, Key: b.key(u.key), UploadId: u.id, PartNumber: &number,
			CopySource: from, CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", at, last)),
		})
		if err != nil {
			u.abort(ctx)
			return b.copyFailed(ctx, err)
		}
		part := types.CompletedPart{PartNumber: aws.Int32(number)}
		if copied.CopyPartResult != nil {
			part.ETag = copied.CopyPartResult.ETag
		}
		u.add(part)
	}
	return u.finish(ctx, size)
}

// copySource formats an object for the x-amz-copy-source header.
func (b *Backend) copySource(key string) *string {
	segments := strings.Split(b.config.Bucket+"/"+*b.key(key), "/")
	for i, segment := range segments {
		// Some servers decode a plus as in a query, as a space.
		segments[i] = strings.ReplaceAll(url.PathEscape(segment), "+", "%2B")
	}
	return aws.String(strings.Join(segments, "/"))
}

// discard deletes an object even if ctx has ended. If that fails, the object
// remains as an orphan.
func (b *Backend) discard(ctx context.Context, key string) {
	afterwards(ctx, func(ctx context.Context) {
		b.erase(ctx, b.key(key)) //nolint:errcheck // see above
	})
}
