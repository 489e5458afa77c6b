//go:build smoke

package s3_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestSmoke runs the storage contract on an endpoint of the user's, below a new key
// prefix, which it empties afterwards. hack/smoke-s3.sh runs it.
func TestSmoke(t *testing.T) {
	server, prefix := smokeServer(t)
	run := path.Join(prefix, "artifactstore-smoke-"+strings.ToLower(rand.Text()[:10]))
	t.Cleanup(func() { empty(t, server, run+"/") })
	if !listsUploads(t, server, run+"/uploads") {
		// Like MinIO. Uploads that keys cannot list are not compared.
		fmt.Println("NOTE the server lists multipart uploads of an exact key only: that none is left behind was not seen")
	}
	var places atomic.Int64
	contractIn(t, func(t *testing.T) *placed {
		config := configFor(server)
		config.KeyPrefix = fmt.Sprintf("%s/%d", run, places.Add(1))
		p := open(t, server, config, buffer.New(24<<20, 8<<20))
		p.within = config.KeyPrefix + "/"
		return p
	})
}

func smokeServer(t *testing.T) (servers.S3Server, string) {
	t.Helper()
	server := servers.S3Server{
		Endpoint: os.Getenv("SMOKE_ENDPOINT"), Bucket: os.Getenv("SMOKE_BUCKET"), Region: os.Getenv("SMOKE_REGION"),
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), Token: os.Getenv("AWS_SESSION_TOKEN"),
	}
	if server.Endpoint == "" || server.Bucket == "" || server.AccessKey == "" || server.SecretKey == "" {
		t.Fatal("an endpoint, a bucket, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed: see make smoke-s3")
	}
	if file := os.Getenv("SMOKE_CA"); file != "" {
		var err error
		if server.CA, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return server, os.Getenv("SMOKE_PREFIX")
}

// listsUploads begins an upload and looks for it by a prefix of its key.
func listsUploads(t *testing.T, server servers.S3Server, below string) bool {
	t.Helper()
	c, key := client(server), aws.String(below+"/begun")
	begun, err := c.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: &server.Bucket, Key: key})
	if err != nil {
		t.Fatalf("beginning a multipart upload: %v", err)
	}
	listed, err := c.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket, Prefix: aws.String(below + "/")})
	if err != nil {
		t.Fatalf("listing multipart uploads: %v", err)
	}
	if _, err := c.AbortMultipartUpload(t.Context(), &sdk.AbortMultipartUploadInput{Bucket: &server.Bucket, Key: key, UploadId: begun.UploadId}); err != nil {
		t.Fatalf("aborting a multipart upload: %v", err)
	}
	return len(listed.Uploads) == 1
}

// empty removes all objects and unfinished uploads below a prefix.
func empty(t *testing.T, server servers.S3Server, below string) {
	ctx, c := context.Background(), client(server) // the test's own context has ended
	pages := sdk.NewListObjectsV2Paginator(c, &sdk.ListObjectsV2Input{Bucket: &server.Bucket, Prefix: &below})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatalf("listing what is to be removed below %s: %v", below, err)
		}
		for _, object := range page.Contents {
			if _, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: &server.Bucket, Key: object.Key}); err != nil {
				t.Errorf("removing %s: %v", *object.Key, err)
			}
		}
	}
	uploads := sdk.NewListMultipartUploadsPaginator(c, &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket, Prefix: &below})
	for uploads.HasMorePages() {
		page, err := uploads.NextPage(ctx)
		if err != nil {
			t.Fatalf("listing the uploads that are to be removed below %s: %v", below, err)
		}
		for _, begun := range page.Uploads {
			if _, err := c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: &server.Bucket, Key: begun.Key, UploadId: begun.UploadId}); err != nil {
				t.Errorf("aborting an upload of %s: %v", *begun.Key, err)
			}
		}
	}
}
