package s3

import (
	"context"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// unfinished yields the multipart uploads that were begun to keys of the
// driver's and not finished, without a look at their parts.
//
// MinIO takes a prefix for a key, and knows below ours no upload. So where
// nothing of ours is named the whole bucket's are listed. The permission is the
// bucket's in either case. (Those that MinIO names then were begun by the node
// that is asked, since it was started; it removes any itself after a day.)
func (b *Backend) unfinished(ctx context.Context) iter.Seq2[storage.Orphan, error] {
	return func(yield func(storage.Orphan, error) bool) {
		ours, named := *b.key(""), false
		goesOn := b.unfinishedBelow(ctx, ours, func(o storage.Orphan, err error) bool {
			named = true
			return yield(o, err)
		})
		if goesOn && !named && ours != "" {
			b.unfinishedBelow(ctx, "", yield)
		}
	}
}

// unfinishedBelow reports whether to go on.
func (b *Backend) unfinishedBelow(ctx context.Context, prefix string, yield func(storage.Orphan, error) bool) bool {
	input := &s3.ListMultipartUploadsInput{Bucket: &b.config.Bucket, Prefix: &prefix, MaxUploads: &b.maxUploads}
	for {
		page, err := b.pageOfUploads(ctx, input)
		if err != nil {
			yield(storage.Orphan{}, b.failed(ctx, "list uploads", err))
			return false
		}
		for _, begun := range page.Uploads {
			key, within := strings.CutPrefix(aws.ToString(begun.Key), *b.key(""))
			if !within || !isOurs(key) {
				continue // the bucket may be others' too
			}
			found := storage.Orphan{Kind: storage.OrphanUpload, Key: key, UploadID: aws.ToString(begun.UploadId), Modified: aws.ToTime(begun.Initiated)}
			if !yield(found, nil) {
				return false
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return true
		}
		key, id := aws.ToString(page.NextKeyMarker), aws.ToString(page.NextUploadIdMarker)
		if key == "" || key == aws.ToString(input.KeyMarker) && id == aws.ToString(input.UploadIdMarker) {
			yield(storage.Orphan{}, lost("the server on "+b.place+" does not say where its list of uploads goes on"))
			return false
		}
		input.KeyMarker, input.UploadIdMarker = &key, nil
		if id != "" {
			input.UploadIdMarker = &id
		}
	}
}

// pageOfUploads asks for one page. versitygw refuses every page but the first if
// it is told the upload beside the key where it begins. By the key alone, further
// uploads to that same key are left out: a later sweep finds them, once those
// before them are gone.
func (b *Backend) pageOfUploads(ctx context.Context, input *s3.ListMultipartUploadsInput) (*s3.ListMultipartUploadsOutput, error) {
	page, err := call(ctx, b, b.client.ListMultipartUploads, input)
	if input.UploadIdMarker == nil || !isCode(err, "InvalidArgument") {
		return page, err
	}
	input.UploadIdMarker = nil
	return call(ctx, b, b.client.ListMultipartUploads, input)
}
