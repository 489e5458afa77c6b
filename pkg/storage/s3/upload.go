package s3

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// cleanUpTime bounds the removal of a failed upload after the caller's
	// context has ended.
	cleanUpTime = 30 * time.Second
	// cleanUpWait is how long a caller whose context has ended waits for the
	// removal: a server that answers needs no more.
	cleanUpWait   = time.Second
	abortAttempts = 6
)

// pauses is the backoff between two attempts to abort.
var pauses = backoff.Policy{First: 100 * time.Millisecond}

// cleanUp returns a context that outlives the caller's.
func cleanUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
}

// afterwards runs do even if ctx has ended: then it returns after cleanUpWait, while
// do may continue in the background.
func afterwards(ctx context.Context, do func(context.Context)) {
	clean, cancel := cleanUp(ctx)
	done := make(chan struct{})
	go func() {
		defer cancel()
		defer close(done)
		do(clean)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	timer := time.NewTimer(cleanUpWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// begin starts an upload to a key. If ctx ends while the server creates the upload,
// begin aborts it whenever the answer arrives. Without an answer there may be an
// upload with an unknown id. A key below staging belongs to one Put, so all uploads to
// it can be removed; a blob's key may be shared, and the sweep removes what was begun
// there.
//
// Servers refuse parts whose checksum was not announced, and a Complete without the
// announced checksums: the proof says whether parts will carry a CRC-32C.
func (b *Backend) begin(ctx context.Context, key string, class types.StorageClass, proof proof) (*upload, error) {
	u := &upload{b: b, key: key, proof: proof, began: time.Now()}
	input := &s3.CreateMultipartUploadInput{
		Bucket: &b.config.Bucket, Key: b.key(key),
		ContentType:          aws.String(contentType),
		StorageClass:         class,
		ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
	}
	if proof.crc {
		input.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	err := b.try(ctx, func(ctx context.Context) error { return u.create(ctx, input) }, nil)
	if err != nil {
		u.abortStrays(ctx)
		return nil, b.failed(ctx, "begin an upload", classRefused(class, err))
	}
	return u, nil
}

// create is one attempt of begin.
func (u *upload) create(ctx context.Context, input *s3.CreateMultipartUploadInput) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	type begun struct {
		id  *string
		err error
	}
	answer := make(chan begun, 1)
	// A late answer still names the upload to abort.
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cleanUpWait+u.b.config.RequestTimeout, cancel) })
	go func() {
		defer cancel()
		defer stop()
		created, err := u.b.client.CreateMultipartUpload(late, input)
		if err != nil {
			answer <- begun{nil, err}
			return
		}
		answer <- begun{created.UploadId, nil}
	}()
	select {
	case got := <-answer:
		u.id = got.id
		u.strays = u.strays || unclear(got.err)
		return got.err
	case <-ctx.Done():
		go func() {
			late := &upload{b: u.b, key: u.key}
			got := <-answer
			if late.id = got.id; got.err == nil {
				late.abort(ctx)
			}
			late.strays = unclear(got.err)
			late.abortStrays(ctx)
		}()
		return ctx.Err()
	}
}

// finish makes the object of size bytes appear, or aborts the upload.
func (u *upload) finish(ctx context.Context, size int64) error {
	err := u.complete(ctx, size)
	if err == nil {
		return nil
	}
	u.abort(ctx)
	// The server may have completed it after we stopped asking.
	if ctx.Err() != nil || !u.unsettled {
		return err
	}
	looks := 1
	if u.vanished {
		looks = abortAttempts
	}
	if u.made(ctx, size, looks) {
		return nil
	}
	return err
}

// made reports whether a missing upload has become the object. Some servers
// (versitygw) no longer list the upload while they create the object.
func (u *upload) made(ctx context.Context, size int64, looks int) bool {
	for nth := range looks {
		there, err := u.b.stands(ctx, u.key, size, u.began)
		if there || err != nil || nth == looks-1 || !pauses.Wait(ctx, nth+1) {
			return there
		}
	}
	return false
}

// complete makes the object of size bytes appear. An attempt whose answer was lost
// counts as successful if the object exists, did not exist before, and the upload is
// gone.
func (u *upload) complete(ctx context.Context, size int64) error {
	slices.SortFunc(u.done, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	err := u.b.try(ctx, func(ctx context.Context) error {
		answer, err := u.b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &u.b.config.Bucket, Key: u.b.key(u.key), UploadId: u.id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done},
		})
		if err == nil {
			u.b.noteVersion(u.b.key(u.key), answer.VersionId)
		}
		u.unsettled = u.unsettled || unclear(err)
		return err
	}, func(ctx context.Context) (bool, error) {
		if there, err := u.b.stands(ctx, u.key, size, u.began); !there {
			return false, err
		}
		return u.gone(ctx)
	})
	if isGone(err) && u.made(ctx, size, abortAttempts) {
		err = nil
	}
	return u.b.failed(ctx, "complete an upload", err)
}

// gone reports whether the server no longer knows the upload.
func (u *upload) gone(ctx context.Context) (bool, error) {
	_, err := call(ctx, u.b, u.b.client.ListParts, &s3.ListPartsInput{
		Bucket: &u.b.config.Bucket, Key: u.b.key(u.key), UploadId: u.id, MaxParts: aws.Int32(1),
	})
	if isGone(err) {
		return true, nil
	}
	return false, err
}

// abort removes the parts even if ctx has ended. A part in transit when the upload
// ended may arrive later, so abort retries until the upload is known to be gone. What
// it cannot remove stays, invisible and at the bucket's cost, until a sweep.
//
// A server that is still completing the upload must not get an abort: Ceph RGW takes no
// lock there and could collect the parts of the object that it is creating. So after a
// Complete without an answer, abort waits first.
func (u *upload) abort(ctx context.Context) { afterwards(ctx, u.remove) }

// remove is abort while ctx lasts.
func (u *upload) remove(ctx context.Context) {
	if u.unsettled {
		for nth := range abortAttempts {
			gone, _ := u.gone(ctx)
			u.vanished = gone
			if gone || !pauses.Wait(ctx, nth+1) {
				return
			}
		}
	}
	for nth := range abortAttempts {
		_, err := call(ctx, u.b, u.b.client.AbortMultipartUpload, &s3.AbortMultipartUploadInput{
			Bucket: &u.b.config.Bucket, Key: u.b.key(u.key), UploadId: u.id,
		})
		if isGone(err) {
			return
		}
		gone, asking := u.gone(ctx)
		// Without permission to list parts, the answer has to be believed.
		if gone || err == nil && asking != nil || !pauses.Wait(ctx, nth+1) {
			return
		}
	}
}

// abortStrays removes every upload to a key below staging, which belongs to one Put,
// even if ctx has ended.
func (u *upload) abortStrays(ctx context.Context) {
	if !u.strays || !strings.HasPrefix(u.key, storage.StagingPrefix+"/") {
		return
	}
	afterwards(ctx, u.removeAll)
}

func (u *upload) removeAll(ctx context.Context) {
	// The complete key as prefix: MinIO lists no other.
	listed, err := call(ctx, u.b, u.b.client.ListMultipartUploads, &s3.ListMultipartUploadsInput{
		Bucket: &u.b.config.Bucket, Prefix: u.b.key(u.key),
	})
	if err != nil {
		return
	}
	for _, found := range listed.Uploads {
		if aws.ToString(found.Key) == *u.b.key(u.key) {
			(&upload{b: u.b, key: u.key, id: found.UploadId}).remove(ctx)
		}
	}
}
