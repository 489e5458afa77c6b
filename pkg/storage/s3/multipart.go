package s3

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// partsAtOnce is the number of parts of one upload in transit: enough to hide the
// time to send one behind the server's work on the others.
const partsAtOnce = 4

var errTooManyParts = &storage.PlaceError{Kind: storage.ErrTooLarge, Reason: storage.ReasonTooLarge,
	Message: "the blob needs more than 10,000 parts of multipartChunkBytes (with a declared size: of the upload memory)"}

// partSize returns the size of an upload's parts except the last: the configured
// size, or a larger one if the size is known and would need too many parts. A part
// is held in memory, so it cannot exceed the budget.
func (b *Backend) partSize(size int64) (int64, error) {
	const round = 1 << 20
	chunk := b.config.MultipartChunkBytes
	if size <= b.maxParts*chunk { // or the size is unknown
		return chunk, nil
	}
	chunk = (size/b.maxParts + round) / round * round
	if b.buffersFor(chunk) > b.pool.Count() {
		return 0, errTooManyParts
	}
	return chunk, nil
}

// upload is one multipart upload.
type upload struct {
	b   *Backend
	key string // without the prefix
	id  *string
	// chunk is the size of its parts except the last.
	chunk int64
	proof proof // what its parts carry
	// began is the time that Amazon S3 reports as the object's last change.
	began time.Time
	// strays: a failed attempt may have begun another upload with an unknown id.
	strays bool
	// unsettled: the server may be completing the upload. vanished: it has
	// disappeared since then, and we did not remove it.
	unsettled, vanished bool

	// sending has room for the parts in transit.
	sending chan struct{}

	mu   sync.Mutex
	done []types.CompletedPart // in order of completion
}

// spaces returns the memory for one part of the given size per call.
type spaces func(context.Context, int64) (*space, error)

// send uploads every part and returns the digests of the whole blob. When it
// returns, no worker runs and no memory is held.
//
// send passes a part's memory to a worker and to the hasher before it waits for the
// next. Neither needs more memory to finish: see package buffer.
func (u *upload) send(ctx context.Context, in *intake.Intake, next spaces) (digest.Dual, error) {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	workers, working := errgroup.WithContext(stop)
	workers.SetLimit(partsAtOnce + 1) // one hashes the next part
	u.sending = make(chan struct{}, partsAtOnce)
	hasher := digest.NewInPlaceHasher()
	defer hasher.Close()

	err := u.eachPart(working, in, next, func(number int32, part *space) {
		part.hold()
		pieces := part.pieces()
		for _, piece := range pieces[:len(pieces)-1] {
			hasher.Add(piece, nil)
		}
		hasher.Add(pieces[len(pieces)-1], part.release)
		workers.Go(func() error {
			defer part.release()
			return u.sendPart(working, number, part)
		})
	})
	if err != nil {
		cancel()
	}
	// A failed worker is why reading was cancelled, unless the caller cancelled.
	if failed := workers.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed
	}
	if err != nil {
		return digest.Dual{}, err
	}
	return hasher.Sum(), nil
}

// eachPart fills one part after another and passes it on.
func (u *upload) eachPart(ctx context.Context, in *intake.Intake, next spaces, hand func(int32, *space)) error {
	for number, end := int32(1), false; !end; number++ {
		if int64(number) > u.b.maxParts {
			return errTooManyParts
		}
		part, err := next(ctx, u.chunk)
		if err != nil {
			return err
		}
		if part.filled < u.chunk {
			end, err = part.fill(ctx, in, u.chunk)
		}
		if err != nil {
			part.release()
			return err
		}
		hand(number, part)
	}
	return nil
}

func (u *upload) sendPart(ctx context.Context, number int32, part *space) error {
	hash := unsigned
	if u.proof.signed {
		hash = payloadHash(part.sha256())
	}
	var sum, md5 *string
	if u.proof.crc {
		sum = aws.String(part.crc32c())
	} else {
		md5 = contentMD5(part.pieces()...)
	}
	select {
	case u.sending <- struct{}{}:
		defer func() { <-u.sending }()
	case <-ctx.Done():
		return u.b.failed(ctx, "upload a part", ctx.Err())
	}
	pieces := part.pieces()
	var tag *string
	err := u.b.try(ctx, func(ctx context.Context) error {
		content := newBody(pieces)
		defer content.revoke()
		sent, err := u.b.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &u.b.config.Bucket, Key: u.b.key(u.key), UploadId: u.id, PartNumber: &number,
			Body: content, ContentLength: &content.size, ChecksumCRC32C: sum, ContentMD5: md5,
		}, hash.option)
		if err == nil {
			tag = sent.ETag
		}
		return err
	}, nil) // a repeated part replaces itself
	if err != nil {
		return u.b.failed(ctx, "upload a part", err)
	}
	u.add(types.CompletedPart{PartNumber: &number, ETag: tag, ChecksumCRC32C: sum})
	return nil
}

func (u *upload) add(part types.CompletedPart) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done = append(u.done, part)
}
