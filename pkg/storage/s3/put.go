package s3

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// Put implements storage.Store. Info.Modified is zero for a blob uploaded in one
// request: the answer does not contain it.
func (b *Backend) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	in := intake.New(src)
	defer in.Close()
	if _, err := b.partSize(src.Size); err != nil {
		return storage.Info{}, err
	}
	if ctx.Err() != nil {
		return storage.Info{}, b.failed(ctx, "put", ctx.Err())
	}
	if err := in.Await(ctx); err != nil {
		return storage.Info{}, err
	}
	if info, there := b.holds(ctx, src); there {
		return b.compare(ctx, src, in, info)
	}
	switch {
	case src.Size <= buffer.SmallEach: // or unknown
		return b.putSmall(ctx, src, in)
	case src.Size >= b.config.MultipartThresholdBytes || b.buffersFor(src.Size) > b.pool.Count():
		return b.putParts(ctx, src, in, nil)
	}
	held, err := b.spaceFor(ctx, in, src.Size, b.pool.GetN)
	if err != nil {
		return storage.Info{}, err
	}
	defer held.release()
	// At least one byte is requested, so that the end of an empty blob is noticed.
	if _, err := held.fill(ctx, in, max(1, src.Size)); err != nil {
		return storage.Info{}, err
	}
	return b.putWhole(ctx, src, held.pieces())
}

// putSmall holds the bytes in one small buffer; the number of small buffers bounds
// how many such blobs are in transit. It continues with larger blobs of unknown size.
func (b *Backend) putSmall(ctx context.Context, src storage.Source, in *intake.Intake) (storage.Info, error) {
	small := b.pool.Small()
	buf, err := small.Get(ctx)
	if err != nil {
		return storage.Info{}, err
	}
	calm := shares.Hurry(ctx, small.Crowded(), buffer.LeastRate)
	n, end, err := in.Fill(ctx, buf)
	calm()
	if err != nil || end {
		defer small.Put(buf)
	}
	switch {
	case err != nil:
		return storage.Info{}, err
	case end:
		return b.putWhole(ctx, src, [][]byte{buf[:n]})
	}
	in.Unread(buf, func() { small.Put(buf) })
	return b.putUnknownSize(ctx, src, in)
}

// putUnknownSize holds the bytes until the source ends or the threshold is reached.
// It waits only for the memory of the first part, while it holds none. It never waits
// for more, so that it cannot block others: if none is free, it begins the multipart
// upload early.
func (b *Backend) putUnknownSize(ctx context.Context, src storage.Source, in *intake.Intake) (storage.Info, error) {
	var held []*space
	defer func() {
		for _, s := range held {
			s.release()
		}
	}()
	chunk := b.config.MultipartChunkBytes
	for size := int64(0); size == 0 || size+chunk <= b.config.MultipartThresholdBytes; size += chunk {
		next, err := b.nextHeld(ctx, in, chunk, len(held) == 0)
		if err != nil {
			return storage.Info{}, err
		}
		if next == nil {
			break
		}
		held = append(held, next)
		end, err := next.fill(ctx, in, chunk)
		if err != nil {
			return storage.Info{}, err
		}
		if end {
			var pieces [][]byte
			for _, s := range held {
				pieces = append(pieces, s.pieces()...)
			}
			return b.putWhole(ctx, src, pieces)
		}
	}
	begun := held
	held = nil // the parts own them now
	return b.putParts(ctx, src, in, begun)
}

// nextHeld waits for memory if allowed, otherwise takes free memory: nil for none.
func (b *Backend) nextHeld(ctx context.Context, in *intake.Intake, size int64, wait bool) (*space, error) {
	if wait {
		return b.spaceFor(ctx, in, size, b.pool.Begin)
	}
	bufs := b.pool.TryGetN(ctx, b.buffersFor(size))
	if bufs == nil {
		return nil, nil
	}
	return asSpace(b.pool, bufs), nil
}

// putWhole stores bytes that are in memory, in one request under the signed SHA-256
// that names them.
func (b *Backend) putWhole(ctx context.Context, src storage.Source, pieces [][]byte) (storage.Info, error) {
	got := intake.Hash(pieces...)
	size := sizeOf(pieces)
	if err := src.Check(got, size); err != nil {
		return storage.Info{}, err
	}
	key, began, md5 := storage.Key(got.SHA256), beganOf(src), contentMD5(pieces...)
	class := b.classOf(ctx, key, src.Tier)
	err := b.try(ctx, func(ctx context.Context) error {
		content := newBody(pieces)
		defer content.revoke()
		answer, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.config.Bucket, Key: b.key(key),
			Body: content, ContentLength: &size, ContentMD5: md5,
			ContentType:          aws.String(contentType),
			StorageClass:         class,
			ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		}, payloadHash(got.SHA256.Hex()).option)
		if err == nil {
			b.noteVersion(b.key(key), answer.VersionId)
		}
		return err
	}, func(ctx context.Context) (bool, error) { return b.stands(ctx, key, size, began) })
	if err != nil {
		return storage.Info{}, b.failed(ctx, "put", classRefused(class, err))
	}
	return storage.Info{Digests: got, Size: size}, nil
}

// stands reports whether an object of that size exists that was written since began:
// the result of a request whose outcome is unknown. An older object may be the
// damaged one that is being replaced. The server sets both times.
func (b *Backend) stands(ctx context.Context, key string, size int64, began time.Time) (bool, error) {
	answer, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(key)})
	switch {
	case statusOf(err) == http.StatusNotFound:
		return false, nil
	case err != nil:
		return false, err
	}
	now, told := awsmiddleware.GetServerTime(answer.ResultMetadata)
	if !told || answer.LastModified == nil || aws.ToInt64(answer.ContentLength) != size {
		return false, nil
	}
	return now.Sub(*answer.LastModified) <= time.Since(began)+rounding, nil
}

// rounding is how much older an object may look than it is: both times are in whole
// seconds.
const rounding = time.Second

// contentType of every object: the registry, not the storage, knows what a blob means.
const contentType = "application/octet-stream"
