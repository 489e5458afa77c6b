package s3_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// threshold is small, so that the suite's larger blobs go up in several parts.
const threshold = 6 << 20

// placed remembers where a backend is.
type placed struct {
	*s3.Backend
	server servers.S3Server
	config s3.Config
	pool   *buffer.Pool
}

// configFor is a bucket's config with small parts.
func configFor(server servers.S3Server) s3.Config {
	return s3.Config{
		EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket, KeyPrefix: "some/prefix",
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey), CABundle: server.CA,
		MultipartThresholdBytes: threshold, MultipartChunkBytes: s3.MinMultipartChunkBytes,
	}
}

func open(t *testing.T, server servers.S3Server, config s3.Config, pool *buffer.Pool) *placed {
	t.Helper()
	b, err := s3.New(config, pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if held := pool.InUse(); held != 0 {
			t.Errorf("%d buffers never came back", held)
		}
	})
	return &placed{b, server, config, pool}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, variant := range []struct {
		name      string
		each      int64 // of a pooled buffer
		checksums s3.Checksums
	}{
		{"a buffer holds a part", 8 << 20, s3.ChecksumsCRC32C},
		{"a part takes several buffers", 2 << 20, s3.ChecksumsSHA256},
	} {
		t.Run(variant.name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t,
				func(t *testing.T) storage.Backend {
					server := servers.S3(t)
					config := configFor(server)
					config.Checksums = variant.checksums
					return open(t, server, config, buffer.New(24<<20, variant.each))
				},
				storagetest.WithThreshold(threshold),
				storagetest.WithKeys(keys),
				storagetest.WithOrphans(leave),
				storagetest.WithSecond(func(t *testing.T, b storage.Backend) storage.Backend {
					first := b.(*placed)
					again := open(t, first.server, first.config, first.pool)
					t.Cleanup(func() { again.Close() })
					return again
				}),
			)
		})
	}
}

// client talks to a test server without the driver.
func client(server servers.S3Server) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: &server.Endpoint, Region: server.Region, UsePathStyle: true,
		Credentials: sdkcredentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
}

// keys lists every object in the bucket, and every unfinished upload.
func keys(t *testing.T, b storage.Backend) []string {
	t.Helper()
	server, prefix := b.(*placed).server, b.(*placed).config.KeyPrefix+"/"
	c := client(server)
	var found []string
	pages := sdk.NewListObjectsV2Paginator(c, &sdk.ListObjectsV2Input{Bucket: &server.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			key := aws.ToString(object.Key)
			if len(key) < len(prefix) || key[:len(prefix)] != prefix {
				t.Errorf("%s lies outside the prefix", key)
				continue
			}
			found = append(found, key[len(prefix):])
		}
	}
	uploads, err := c.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, upload := range uploads.Uploads {
		found = append(found, "unfinished: "+aws.ToString(upload.Key))
	}
	return found
}
