package s3

import (
	"context"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// unfinished yields the unfinished multipart uploads to keys of the driver,
// without looking at their parts.
//
// MinIO treats a prefix as a key and finds no upload below ours. So if the listing
// below our prefix is empty, the whole bucket is listed, which needs the same
// permission. (MinIO then lists only uploads begun on the queried node since that
// node started; it removes all uploads itself after a day.)
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

// unfinishedBelow reports whether to continue.
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
				continue // others may use the bucket too
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
			yield(storage.Orphan{}, lost("the server on "+b.place+" does not say where its list of uploads continues"))
			return false
		}
		input.KeyMarker, input.UploadIdMarker = &key, nil
		if id != "" {
			input.UploadIdMarker = &id
		}
	}
}

// pageOfUploads requests one page. versitygw refuses every page but the first if the
// request names an upload in addition to the key to start from. With the key alone,
// further uploads to that key are left out; a later sweep finds them once the
// earlier ones are gone.
func (b *Backend) pageOfUploads(ctx context.Context, input *s3.ListMultipartUploadsInput) (*s3.ListMultipartUploadsOutput, error) {
	page, err := call(ctx, b, b.client.ListMultipartUploads, input)
	if input.UploadIdMarker == nil || !isCode(err, "InvalidArgument") {
		return page, err
	}
	input.UploadIdMarker = nil
	return call(ctx, b, b.client.ListMultipartUploads, input)
}
