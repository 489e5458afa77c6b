package s3

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// partsAtOnce of one upload: enough that sending one hides behind the server's
// work on others.
const partsAtOnce = 4

var errTooManyParts = &storage.PlaceError{Kind: storage.ErrTooLarge, Reason: storage.ReasonTooLarge,
	Message: "more than 10,000 parts of multipartChunkBytes each"}

// upload is one multipart upload.
type upload struct {
	b   *Backend
	key *string
	id  *string

	mu   sync.Mutex
	done []types.CompletedPart // in the order in which they ended
}

// spaces gives the memory for one part after another.
type spaces func(context.Context) (*space, error)

// send uploads every part and returns the digests of the whole. When it
// returns, no worker runs and no memory is held.
//
// A part's memory is handed to a worker and to the hasher, neither of which
// needs more of it to finish, before send waits for the next: see package buffer.
func (u *upload) send(ctx context.Context, in *intake.Intake, next spaces) (digest.Dual, error) {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	workers, working := errgroup.WithContext(stop)
	workers.SetLimit(partsAtOnce)
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
	// A worker that failed is why reading was cancelled, unless the caller did it.
	if failed := workers.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed
	}
	if err != nil {
		return digest.Dual{}, err
	}
	return hasher.Sum(), nil
}

// eachPart fills one part after another and hands it over.
func (u *upload) eachPart(ctx context.Context, in *intake.Intake, next spaces, hand func(int32, *space)) error {
	chunk := u.b.config.MultipartChunkBytes
	for number, end := int32(1), false; !end; number++ {
		if number > MaxParts {
			return errTooManyParts
		}
		part, err := next(ctx)
		if err != nil {
			return err
		}
		if part.filled < chunk {
			end, err = part.fill(chunk, func(p []byte) (int, bool, error) { return in.Fill(ctx, p) })
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
	content := newBody(part.pieces())
	defer content.revoke()
	input := &s3.UploadPartInput{
		Bucket: &u.b.config.Bucket, Key: u.key, UploadId: u.id, PartNumber: &number,
		Body: content, ContentLength: &content.size,
	}
	proof := unsigned
	if u.b.config.Checksums == ChecksumsSHA256 {
		proof = payloadHash(part.sha256())
	} else {
		input.ChecksumCRC32C = aws.String(part.crc32c())
	}
	sent, err := u.b.client.UploadPart(ctx, input, proof.option)
	if err != nil {
		return u.b.failed(ctx, "upload a part", err)
	}
	u.add(types.CompletedPart{PartNumber: &number, ETag: sent.ETag, ChecksumCRC32C: input.ChecksumCRC32C})
	return nil
}

func (u *upload) add(part types.CompletedPart) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done = append(u.done, part)
}

// begin starts an upload to a key. It does not leave one behind when ctx ends
// while the server makes it: whenever the answer comes, it is abandoned then.
//
// Servers refuse parts whose checksum was not announced, and a Complete without
// one that was: algorithm is "" for parts that carry none.
func (b *Backend) begin(ctx context.Context, key string, algorithm types.ChecksumAlgorithm) (*upload, error) {
	u := &upload{b: b, key: b.key(key)}
	input := &s3.CreateMultipartUploadInput{
		Bucket: &b.config.Bucket, Key: u.key,
		ContentType:          aws.String(contentType),
		StorageClass:         types.StorageClass(b.config.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		ChecksumAlgorithm:    algorithm,
	}
	if ctx.Err() != nil {
		return nil, b.failed(ctx, "begin an upload", ctx.Err())
	}
	begun := make(chan error, 1)
	go func() {
		// stallConn bounds it.
		created, err := b.client.CreateMultipartUpload(context.WithoutCancel(ctx), input)
		if err == nil {
			u.id = created.UploadId
		}
		begun <- err
	}()
	select {
	case err := <-begun:
		if err != nil {
			return nil, b.failed(ctx, "begin an upload", err)
		}
		return u, nil
	case <-ctx.Done():
		go func() {
			if <-begun == nil {
				u.abort(ctx)
			}
		}()
		return nil, b.failed(ctx, "begin an upload", ctx.Err())
	}
}

// complete makes the object appear.
func (u *upload) complete(ctx context.Context) error {
	slices.SortFunc(u.done, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	_, err := u.b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.b.config.Bucket, Key: u.key, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done},
	})
	if isCode(err, "NoSuchUpload") {
		// An attempt whose answer got lost has done it, and this is the
		// retry; whoever goes on looks at the object.
		return nil
	}
	return u.b.failed(ctx, "complete an upload", err)
}

// abort removes the parts, also when ctx is over. A part that was on its way
// while the upload ended may arrive after it, so it asks until the upload is
// known to be gone. What it cannot remove stays unseen, at the bucket's cost.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := cleanUp(ctx)
	defer cancel()
	for range abortAttempts {
		_, err := u.b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: &u.b.config.Bucket, Key: u.key, UploadId: u.id,
		})
		if err != nil {
			return
		}
		_, err = u.b.client.ListParts(ctx, &s3.ListPartsInput{
			Bucket: &u.b.config.Bucket, Key: u.key, UploadId: u.id, MaxParts: aws.Int32(1),
		})
		if err != nil {
			return
		}
	}
}
