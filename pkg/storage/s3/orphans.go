package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

var _ storage.Cleaner = (*Backend)(nil)

// Now implements storage.Cleaner: it returns the time of a new object below the
// probe prefix. The Date of an answer would be cheaper, but a proxy with a clock of
// its own may have set it.
func (b *Backend) Now(ctx context.Context) (time.Time, error) {
	key := storage.ProbePrefix + "/clock/" + uuid.NewString()
	defer b.discard(ctx, key)
	content := []byte("what time is it?")
	err := b.try(ctx, func(ctx context.Context) error {
		answer, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.config.Bucket, Key: b.key(key), Body: bytes.NewReader(content), ContentMD5: contentMD5(content), ContentType: aws.String(contentType),
			ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		}, payloadHash(intake.Hash(content).SHA256.Hex()).option)
		if err == nil {
			b.noteVersion(b.key(key), answer.VersionId)
		}
		return err
	}, nil)
	if err != nil {
		return time.Time{}, b.failed(ctx, "put", err)
	}
	answer, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(key)})
	if err == nil && answer.LastModified == nil {
		err = errNotS3
	}
	if err != nil {
		return time.Time{}, b.failed(ctx, "head", err)
	}
	return *answer.LastModified, nil
}

// Orphans implements storage.Cleaner. Uploads come last, because listing them needs
// permissions of its own (s3:ListBucketMultipartUploads, and
// s3:ListMultipartUploadParts for their sizes and ages).
func (b *Backend) Orphans(ctx context.Context) iter.Seq2[storage.Orphan, error] {
	return func(yield func(storage.Orphan, error) bool) {
		_ = b.objectsBelow(ctx, storage.OrphanStaged, storage.StagingPrefix, yield) &&
			b.objectsBelow(ctx, storage.OrphanProbe, storage.ProbePrefix, yield) &&
			b.uploads(ctx, yield)
	}
}

// objectsBelow reports whether to continue.
func (b *Backend) objectsBelow(ctx context.Context, kind storage.OrphanKind, below string, yield func(storage.Orphan, error) bool) bool {
	pages := s3.NewListObjectsV2Paginator(lister{b}, &s3.ListObjectsV2Input{
		Bucket: &b.config.Bucket, Prefix: aws.String(*b.key(below) + "/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			yield(storage.Orphan{}, b.failed(ctx, "list", err))
			return false
		}
		for _, object := range page.Contents {
			found := storage.Orphan{Kind: kind, Key: b.below(object.Key), Size: aws.ToInt64(object.Size), Modified: aws.ToTime(object.LastModified)}
			if !yield(found, nil) {
				return false
			}
		}
	}
	return true
}

func (b *Backend) uploads(ctx context.Context, yield func(storage.Orphan, error) bool) bool {
	for found, err := range b.unfinished(ctx) {
		there := err == nil
		if there {
			there, err = b.lookAtParts(ctx, &found)
		}
		if err != nil {
			yield(storage.Orphan{}, err)
			return false
		}
		if there && !yield(found, nil) {
			return false
		}
	}
	return true
}

// isOurs reports whether an upload to a key below the prefix can be the driver's: it
// uploads to blobs, to staging and below the probe prefix.
func isOurs(key string) bool {
	_, isBlob := storage.ParseKey(key)
	return isBlob ||
		storage.Orphan{Kind: storage.OrphanStaged, Key: key}.RemovableKey() ||
		storage.Orphan{Kind: storage.OrphanProbe, Key: key}.RemovableKey()
}

// lookAtParts sums up the parts received, and when the last one arrived. It reports
// whether the upload still exists.
func (b *Backend) lookAtParts(ctx context.Context, upload *storage.Orphan) (bool, error) {
	pages := s3.NewListPartsPaginator(lister{b}, &s3.ListPartsInput{
		Bucket: &b.config.Bucket, Key: b.key(upload.Key), UploadId: &upload.UploadID,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if isGone(err) {
			return false, nil
		}
		if err != nil {
			return false, b.failed(ctx, "list parts", err)
		}
		for _, part := range page.Parts {
			upload.Size += aws.ToInt64(part.Size)
			if at := aws.ToTime(part.LastModified); at.After(upload.Modified) {
				upload.Modified = at
			}
		}
	}
	return true, nil
}

// isGone reports whether the upload does not exist. RGW says NoSuchKey when asked for its parts.
func isGone(err error) bool { return isCode(err, "NoSuchUpload", "NoSuchKey") }

// below is the inverse of key.
func (b *Backend) below(key *string) string { return strings.TrimPrefix(aws.ToString(key), *b.key("")) }

// RemoveOrphan implements storage.Cleaner.
func (b *Backend) RemoveOrphan(ctx context.Context, orphan storage.Orphan) error {
	switch {
	case orphan.Kind == storage.OrphanUpload && orphan.UploadID != "" && isOurs(orphan.Key):
		return b.removeUpload(ctx, orphan)
	case orphan.RemovableKey():
		_, err := call(ctx, b, b.client.DeleteObject, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: b.key(orphan.Key)})
		if isCode(err, "NoSuchKey") {
			return nil
		}
		return b.failed(ctx, "delete", err)
	}
	return fmt.Errorf("%s is not an orphan of kind %s", orphan.Key, orphan.Kind)
}

// removeUpload retries until the upload does not exist: a part that arrives during
// the removal may stay behind.
func (b *Backend) removeUpload(ctx context.Context, orphan storage.Orphan) error {
	for range abortAttempts {
		_, err := call(ctx, b, b.client.AbortMultipartUpload, &s3.AbortMultipartUploadInput{
			Bucket: &b.config.Bucket, Key: b.key(orphan.Key), UploadId: &orphan.UploadID,
		})
		if err != nil && !isGone(err) && statusOf(err) != http.StatusNotFound {
			return b.failed(ctx, "abort an upload", err)
		}
		there, err := b.lookAtParts(ctx, &orphan)
		if err != nil || !there {
			return err
		}
	}
	return errors.New("the upload of " + orphan.Key + " cannot be removed")
}
