package s3_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

// leave puts into the bucket what a process that died would have left there,
// and something beside the prefix that is none of our business.
func leave(t *testing.T, b storage.Backend) []storage.Orphan {
	t.Helper()
	server, prefix := b.(*placed).server, b.(*placed).config.KeyPrefix
	c := client(server)
	left := []storage.Orphan{
		{Kind: storage.OrphanStaged, Key: storage.StagingPrefix + "/one", Size: 5},
		{Kind: storage.OrphanProbe, Key: storage.ProbePrefix + "/" + storage.Key(digest.Of([]byte("probe")).SHA256), Size: 6},
		{Kind: storage.OrphanUpload, Key: storage.StagingPrefix + "/two", Size: s3.MinMultipartChunkBytes},
		{Kind: storage.OrphanUpload, Key: storage.Key(digest.Of([]byte("never finished")).SHA256), Size: 0},
		{Kind: storage.OrphanUpload, Key: storage.Key(digest.Of([]byte("never finished")).SHA256), Size: s3.MinMultipartChunkBytes},
		{Kind: storage.OrphanUpload, Key: storage.ProbePrefix + "/parts", Size: 1},
	}
	if server.Kind == servers.MinIO { // it lists uploads of an exact key only, and so none of these
		left = slices.DeleteFunc(left, func(o storage.Orphan) bool { return o.Kind == storage.OrphanUpload })
	}
	for _, o := range left {
		key := aws.String(prefix + "/" + o.Key)
		if o.Kind != storage.OrphanUpload {
			if _, err := c.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: &server.Bucket, Key: key, Body: bytes.NewReader(make([]byte, o.Size))}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		begun, err := c.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: &server.Bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if o.Size == 0 {
			continue
		}
		if _, err := c.UploadPart(t.Context(), &sdk.UploadPartInput{
			Bucket: &server.Bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(make([]byte, o.Size)),
		}); err != nil {
			t.Fatal(err)
		}
	}
	return left
}
