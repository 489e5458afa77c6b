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
	// cleanUpTime is what removing a failed upload may take after the
	// caller's context is over.
	cleanUpTime = 30 * time.Second
	// cleanUpWait is how long a caller whose context is over waits for it: a
	// server that answers needs no more.
	cleanUpWait   = time.Second
	abortAttempts = 6
)

// pauses between two attempts to abort.
var pauses = backoff.Policy{First: 100 * time.Millisecond}

// cleanUp returns a context that outlives the caller's.
func cleanUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
}

// afterwards cleans up, also when ctx is over: then the caller goes on after
// cleanUpWait, while do may run on behind it.
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

// begin starts an upload to a key. It does not leave one behind when ctx ends
// while the server makes it: whenever the answer comes, it is abandoned then.
// Where no answer comes there may be an upload that nobody can name. Below
// staging a key is one Put's, so all uploads to it can go; a blob's key may be
// another's too, and what was begun there is left to the sweep.
//
// Servers refuse parts whose checksum was not announced, and a Complete without
// one that was: the proof says whether parts will carry a CRC-32C.
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
	// An answer that comes late still names the upload that is to be aborted.
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

// finish makes the object appear, of size bytes, or aborts the upload.
func (u *upload) finish(ctx context.Context, size int64) error {
	err := u.complete(ctx, size)
	if err == nil {
		return nil
	}
	u.abort(ctx)
	// The server may have completed it after all, after we gave up asking.
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

// made reports whether an upload that is gone has become the object. Some servers
// (versitygw) know it no more while they are making that.
func (u *upload) made(ctx context.Context, size int64, looks int) bool {
	for nth := range looks {
		there, err := u.b.stands(ctx, u.key, size, u.began)
		if there || err != nil || nth == looks-1 || !pauses.Wait(ctx, nth+1) {
			return there
		}
	}
	return false
}

// complete makes the object appear, of size bytes. An attempt whose answer got
// lost counts as one that worked when the object is there, was not there
// before, and the upload is gone.
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

// gone asks whether the server knows the upload no more.
func (u *upload) gone(ctx context.Context) (bool, error) {
	_, err := call(ctx, u.b, u.b.client.ListParts, &s3.ListPartsInput{
		Bucket: &u.b.config.Bucket, Key: u.b.key(u.key), UploadId: u.id, MaxParts: aws.Int32(1),
	})
	if isGone(err) {
		return true, nil
	}
	return false, err
}

// abort removes the parts, also when ctx is over. A part that was on its way
// while the upload ended may arrive after it, so it asks until the upload is
// known to be gone. What it cannot remove stays unseen, at the bucket's cost,
// until a sweep.
//
// A server that is completing the upload still must not be told to abort it:
// Ceph RGW takes no lock there and could collect the parts of the object that
// it is making. So after a Complete without an answer it waits first.
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
		// Who may not list parts has to believe the answer.
		if gone || err == nil && asking != nil || !pauses.Wait(ctx, nth+1) {
			return
		}
	}
}

// abortStrays removes every upload to a key below staging, which belongs to
// one Put, also when ctx is over.
func (u *upload) abortStrays(ctx context.Context) {
	if !u.strays || !strings.HasPrefix(u.key, storage.StagingPrefix+"/") {
		return
	}
	afterwards(ctx, u.removeAll)
}

func (u *upload) removeAll(ctx context.Context) {
	// The whole key as prefix: MinIO lists no other.
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
