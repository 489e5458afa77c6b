package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// everywhere runs a test on each kind of S3 server, over http and https.
func everywhere(t *testing.T, test func(t *testing.T, kind S3Kind, secure bool)) {
	t.Helper()
	for _, kind := range S3Kinds {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%s", kind, map[bool]string{false: "http", true: "https"}[secure]), func(t *testing.T) {
				t.Parallel()
				test(t, kind, secure)
			})
		}
	}
}

func TestS3(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, kind S3Kind, secure bool) {
		server, other := S3On(t, kind, secure), S3On(t, kind, secure)
		if server.Bucket == other.Bucket || server.Kind != kind {
			t.Fatalf("two tests have the buckets %s and %s on %s", server.Bucket, other.Bucket, server.Kind)
		}
		if strings.HasPrefix(server.Endpoint, "https://") != secure || (server.CA != nil) != secure {
			t.Fatalf("the endpoint is %s and its CA %q", server.Endpoint, server.CA)
		}
		client, content := server.Client(), []byte("some bytes")
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &server.Bucket, Key: aws.String("a/b"), Body: bytes.NewReader(content), Metadata: map[string]string{"k": "v"},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &server.Bucket, Key: aws.String("a/b")})
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		if data, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(data, content) || got.Metadata["k"] != "v" {
			t.Errorf("read back %q with %v: %v", data, got.Metadata, err)
		}
		for _, in := range []struct {
			bucket string
			want   int
		}{{server.Bucket, 1}, {other.Bucket, 0}} {
			listed, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &in.bucket})
			if err != nil || len(listed.Contents) != in.want {
				t.Errorf("%s holds %v, want %d: %v", in.bucket, listed, in.want, err)
			}
		}
		if !secure {
			return
		}
		stranger := server
		stranger.CA = nil
		if _, err := stranger.Client().HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &server.Bucket}); err == nil {
			t.Error("a client that trusts the system's CAs only was served")
		}
	})
}

func TestMinIOCompresses(t *testing.T) {
	t.Parallel()
	server := MinIOCompressing(t)
	const size = 32 << 20
	_, err := server.Client().PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &server.Bucket, Key: aws.String("x"), Body: strings.NewReader(strings.Repeat("compressible ", size/13)),
	})
	if err != nil {
		t.Fatal(err)
	}
	var on int64
	err = filepath.WalkDir(filepath.Join(filepath.Dir(compressing.value.log), "objects"), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			on += info.Size()
		}
		return err
	})
	if err != nil || on == 0 || on > size/4 {
		t.Errorf("%d bytes take %d on disk: %v", size, on, err)
	}
}

func TestMinIOUploads(t *testing.T) {
	t.Parallel()
	own := OwnMinIO(t, false)
	server := own.Bucket(t)
	client := server.Client()
	begun, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &server.Bucket, Key: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	if found := own.Uploads(t); len(found) != 1 {
		t.Errorf("one upload was begun, found %q", found)
	}
	if _, err := client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: &server.Bucket, Key: aws.String("x"), UploadId: begun.UploadId}); err != nil {
		t.Fatal(err)
	}
	if found := own.Uploads(t); len(found) != 0 {
		t.Errorf("the upload was aborted, found %q", found)
	}
}

func TestRGWHasAnotherClass(t *testing.T) {
	t.Parallel()
	server := S3On(t, RGW, false)
	for class, accepted := range map[types.StorageClass]bool{StorageClass: true, "NO_SUCH_CLASS": false} {
		_, err := server.Client().PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &server.Bucket, Key: aws.String("x"), Body: strings.NewReader("x"), StorageClass: class,
		})
		if (err == nil) != accepted {
			t.Errorf("%s: %v", class, err)
		}
	}
	head, err := server.Client().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &server.Bucket, Key: aws.String("x")})
	if err != nil || head.StorageClass != StorageClass {
		t.Errorf("the object's class is %v: %v", head, err)
	}
	if users := RGWAdmin(t, "user", "list"); !strings.Contains(users, "tests") {
		t.Errorf("radosgw-admin knows the users %s", users)
	}
}

func TestRGWFreezes(t *testing.T) {
	t.Parallel()
	cluster := OwnRGW(t)
	server := cluster.Bucket(t, false)
	client := server.Client()
	put := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &server.Bucket, Key: aws.String("x"), Body: strings.NewReader("x")})
		return err
	}
	if err := put(time.Minute); err != nil {
		t.Fatal(err)
	}
	cluster.Freeze(t)
	if err := put(time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a put on a frozen osd: %v", err)
	}
	cluster.Thaw(t)
	if err := put(time.Minute); err != nil {
		t.Errorf("a put after the thaw: %v", err)
	}
}

// TestS3WithUsers: new keys reach what the old ones did, and what was taken back is refused.
func TestS3WithUsers(t *testing.T) {
	t.Parallel()
	users := S3WithUsers(t)
	first := users.Bucket(t)
	if _, err := first.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &first.Bucket, Key: aws.String("a"), Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	second := users.NewKeys(t, first)
	for _, keys := range []S3Server{first, second} {
		if _, err := keys.Client().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &keys.Bucket, Key: aws.String("a")}); err != nil {
			t.Error(err)
		}
	}
	users.Revoke(t, first)
	if _, err := first.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &first.Bucket}); err == nil || !strings.Contains(err.Error(), "InvalidAccessKeyId") {
		t.Errorf("the keys that were taken back: %v", err)
	}
	if _, err := second.Client().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &second.Bucket, Key: aws.String("a")}); err != nil {
		t.Error(err)
	}
}
