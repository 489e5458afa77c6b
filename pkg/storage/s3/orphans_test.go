package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

// leave puts into the bucket what a process that died would leave there, and
// objects beside the prefix that are not ours.
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

// openBelow opens a backend with a key prefix on a server of the kind, and returns
// the prefix of its keys there.
func openBelow(t *testing.T, kind servers.S3Kind, prefix string) (servers.S3Server, *placed, string) {
	t.Helper()
	server := servers.S3On(t, kind, false)
	config := configFor(server)
	config.KeyPrefix = prefix
	b := open(t, server, config, buffer.New(24<<20, 8<<20))
	t.Cleanup(func() { b.Close() })
	if prefix != "" {
		prefix += "/"
	}
	return server, b, prefix
}

// TestUploadsOfOthers: others who use the bucket have uploads of their own, which
// are never ours, whatever our prefix is.
func TestUploadsOfOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, prefix := range []string{"", "some/prefix"} {
			t.Run(fmt.Sprintf("%s/%q", kind, prefix), func(t *testing.T) {
				t.Parallel()
				server, b, within := openBelow(t, kind, prefix)
				blob := storage.Key(digest.Of([]byte("theirs")).SHA256)
				ids := map[string]*string{}
				for _, key := range []string{"other/backup.tar", "team/" + blob, "sha256/aa/bb/cc", storage.ReservedPrefix + "/stagingother"} {
					ids[key] = begin(t, server, within+key)
				}
				ours := storage.Orphan{Kind: storage.OrphanUpload, Key: blob, UploadID: *begin(t, server, within+blob)}
				seen := false
				for o, err := range b.Orphans(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					if o.Key != ours.Key || o.UploadID != ours.UploadID {
						t.Errorf("found %+v", o)
					}
					seen = true
				}
				if !seen {
					t.Error("ours was not seen")
				}
				if err := b.RemoveOrphan(t.Context(), ours); err != nil {
					t.Error(err)
				}
				for key, id := range ids {
					if err := b.RemoveOrphan(t.Context(), storage.Orphan{Kind: storage.OrphanUpload, Key: key, UploadID: *id}); err == nil {
						t.Errorf("%s was removed", key)
					}
					at := aws.String(within + key)
					if _, err := client(server).ListParts(t.Context(), &sdk.ListPartsInput{Bucket: &server.Bucket, Key: at, UploadId: id}); err != nil {
						t.Errorf("the upload of %s: %v", key, err)
					}
				}
			})
		}
	}
}

// begin leaves an upload without parts until the test ends.
func begin(t *testing.T, server servers.S3Server, key string) *string {
	t.Helper()
	begun, err := client(server).CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: &server.Bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client(server).AbortMultipartUpload(context.Background(), &sdk.AbortMultipartUploadInput{Bucket: &server.Bucket, Key: &key, UploadId: begun.UploadId}) //nolint:errcheck // it may be gone
	})
	return begun.UploadId
}

// TestPagesOfUploads: each server lists all uploads, more than one page of them,
// while they are being removed. versitygw may leave out uploads to one key if a page
// ends among them; a later sweep finds them.
func TestPagesOfUploads(t *testing.T) {
	t.Parallel()
	const all, toOneKey, page = 23, 7, 5
	for _, kind := range servers.S3Kinds {
		for _, prefix := range []string{"", "some/prefix"} {
			t.Run(fmt.Sprintf("%s/%q", kind, prefix), func(t *testing.T) {
				t.Parallel()
				server, b, within := openBelow(t, kind, prefix)
				s3.ListUploads(b.Backend, page)
				begun := map[string]bool{}
				for i := range all {
					content := fmt.Append(nil, "upload ", max(i, toOneKey-1))
					begun[*begin(t, server, within+storage.Key(digest.Of(content).SHA256))] = true
				}
				sweeps := 0
				for ; len(begun) > 0 && sweeps < toOneKey; sweeps++ {
					for o, err := range b.Orphans(t.Context()) {
						if err != nil {
							t.Fatal(err)
						}
						if !begun[o.UploadID] {
							t.Errorf("found twice, or never begun: %+v", o)
						}
						if err := b.RemoveOrphan(t.Context(), o); err != nil {
							t.Error(err)
						}
						delete(begun, o.UploadID)
					}
				}
				if len(begun) != 0 || sweeps > 1 && kind != servers.VersityGW {
					t.Errorf("%d of %d were not found by %d sweeps", len(begun), all, sweeps)
				}
			})
		}
	}
}
