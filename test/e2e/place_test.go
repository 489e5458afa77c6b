package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// place is where a backend keeps its objects, seen without the registry.
type place interface {
	// spec declares it.
	spec(t *testing.T, c control) v1alpha1.StorageBackendSpec
	// sizes lists every key below the place with its object's size in bytes.
	sizes(t *testing.T) map[string]int64
	read(t *testing.T, key string) []byte
	write(t *testing.T, key string, content []byte)
	remove(t *testing.T, key string)
}

// flip changes one bit of a stored blob: its size stays.
func flip(t *testing.T, p place, name digest.Digest) {
	t.Helper()
	content := p.read(t, storage.Key(name))
	content[len(content)/2] ^= 1
	p.write(t, storage.Key(name), content)
}

// folder is a local backend's place.
type folder struct{ root string }

// newFolder makes a folder beneath root, which the manager is told is its local root.
func newFolder(t *testing.T, root, name string) folder {
	t.Helper()
	f := folder{filepath.Join(root, name)}
	if err := os.MkdirAll(f.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f folder) spec(*testing.T, control) v1alpha1.StorageBackendSpec {
	return v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: f.root}}
}

func (f folder) sizes(t *testing.T) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(f.root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		key, err := filepath.Rel(f.root, name)
		found[filepath.ToSlash(key)] = info.Size()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a staged file goes while we look
		t.Fatal(err)
	}
	return found
}

func (f folder) read(t *testing.T, key string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(f.root, key))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (f folder) write(t *testing.T, key string, content []byte) {
	t.Helper()
	f.remove(t, key) // a blob's file is not writable, nor should it be
	if err := os.WriteFile(filepath.Join(f.root, key), content, 0o444); err != nil {
		t.Fatal(err)
	}
}

func (f folder) remove(t *testing.T, key string) {
	t.Helper()
	if err := os.Remove(filepath.Join(f.root, key)); err != nil {
		t.Fatal(err)
	}
}

// bucket is an s3 backend's place; the backend has a prefix in it.
type bucket struct {
	servers.S3Server
	client *s3.Client
}

const prefix = "some/prefix"

func newBucket(t *testing.T) bucket {
	t.Helper()
	return newBucketOn(t, servers.VersityGW, false)
}

// empty gives back what the bucket holds of its server's disk.
func (b bucket) empty(t *testing.T) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(background)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			if _, err := b.client.DeleteObject(background, &s3.DeleteObjectInput{Bucket: &b.Bucket, Key: object.Key}); err != nil {
				t.Fatal(err)
			}
		}
	}
	uploads, err := b.client.ListMultipartUploads(background, &s3.ListMultipartUploadsInput{Bucket: &b.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, upload := range uploads.Uploads {
		if _, err := b.client.AbortMultipartUpload(background, &s3.AbortMultipartUploadInput{Bucket: &b.Bucket, Key: upload.Key, UploadId: upload.UploadId}); err != nil {
			t.Fatal(err)
		}
	}
}

func newBucketOn(t *testing.T, kind servers.S3Kind, secure bool) bucket {
	t.Helper()
	server := servers.S3On(t, kind, secure)
	return bucket{server, server.Client()}
}

// store is a kind of place: a folder, or a bucket on a kind of S3 server.
type store struct {
	kind   servers.S3Kind
	secure bool // by https, with a private CA
}

// local is a folder.
var local = store{}

func (s store) name() string {
	switch {
	case s == local:
		return "local"
	case s.secure:
		return string(s.kind) + "-https"
	}
	return string(s.kind)
}

func (s store) place(t *testing.T, root string) place {
	t.Helper()
	if s == local {
		return newFolder(t, root, s.name())
	}
	return newBucketOn(t, s.kind, s.secure)
}

func (b bucket) spec(t *testing.T, c control) v1alpha1.StorageBackendSpec {
	t.Helper()
	spec := &v1alpha1.S3Spec{
		EndpointURL: b.Endpoint, Region: b.Region, Bucket: b.Bucket, KeyPrefix: prefix,
		AccessKeyRef: c.secret(t, b.Bucket+"-access-key", b.AccessKey),
		SecretKeyRef: c.secret(t, b.Bucket+"-secret-key", b.SecretKey),
	}
	if b.CA != nil {
		spec.CABundleRef = c.secret(t, b.Bucket+"-ca", string(b.CA))
	}
	return v1alpha1.StorageBackendSpec{S3: spec}
}

func (b bucket) sizes(t *testing.T) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.Bucket, Prefix: aws.String(prefix + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			found[(*object.Key)[len(prefix)+1:]] = *object.Size
		}
	}
	return found
}

func (b bucket) read(t *testing.T, key string) []byte {
	t.Helper()
	answer, err := b.client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &b.Bucket, Key: aws.String(path.Join(prefix, key))})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // ReadAll tells
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (b bucket) write(t *testing.T, key string, content []byte) {
	t.Helper()
	_, err := b.client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &b.Bucket, Key: aws.String(path.Join(prefix, key)), Body: bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
}

func (b bucket) remove(t *testing.T, key string) {
	t.Helper()
	if _, err := b.client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &b.Bucket, Key: aws.String(path.Join(prefix, key))}); err != nil {
		t.Fatal(err)
	}
}
