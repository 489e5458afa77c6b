// Package s3 stores blobs in a bucket of any server that speaks Amazon's S3
// protocol, in the layout of package storage.
//
// It relies on little, because servers differ (ignored checksums, conditional writes
// that overwrite, truncated objects kept after a lost connection): it compares bytes
// with their digests itself, before it sends or completes the request that makes them
// visible under a digest. Such a request either carries the signed SHA-256 of its
// body, or follows parts that each carry one or a CRC-32C. Each request that stores
// bytes also has a checksum in a header, as Object Lock demands.
//
//   - Below the multipart threshold a blob is held in pooled memory, hashed,
//     compared, and sent in one request.
//   - From the threshold on, a blob with a declared SHA-256 is uploaded in parts
//     straight to its key; the upload is completed only if both digests match.
//   - Without a declared SHA-256 it is uploaded in parts to
//     .artifactstore/staging/<uuid>, and the server copies it to its key afterwards.
//
// On the bucket, the permission s3:ListBucket is needed (without it a missing blob
// looks like a forbidden one), on the objects s3:GetObject, s3:PutObject,
// s3:DeleteObject and s3:AbortMultipartUpload. Finding orphans needs
// s3:ListBucketMultipartUploads on the bucket and s3:ListMultipartUploadParts on the
// objects. In a bucket that keeps versions, s3:DeleteObjectVersion allows removing the
// versions of temporary objects.
package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// Backend is a bucket (below a key prefix) as a storage.Backend.
type Backend struct {
	config Config // with its defaults
	place  string // host, for messages
	client *s3.Client
	pool   *buffer.Pool
	close  func()

	// downloads are the connections that Gets may have: each holds one until it is
	// closed, however slow its client is. Uploads, probes and all else have the others.
	downloads *shares.Pool

	retries  budget
	checks   checksumCheck
	versions sync.Map // key to the versions created of it: see noteVersion
	// headVersion of the head mark that was read or written last; nil where the bucket keeps none.
	headVersion atomic.Pointer[string]

	// The service's limits; tests lower them.
	maxCopy, copyPart, maxParts int64
	maxUploads                  int32 // per page of a list
}

var _ storage.Backend = (*Backend)(nil)

// New returns the backend without contacting the endpoint; Health reports whether the
// endpoint answers. Uploads take their memory from pool, which must hold at least one
// part, unless config is one for probes, which upload no parts.
func New(config Config, pool *buffer.Pool) (*Backend, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	if most := pool.Each() * int64(pool.Count()); !config.probes && config.MultipartChunkBytes > most {
		return nil, fmt.Errorf("multipartChunkBytes: must be at most %d bytes, the memory for uploads, is %d",
			most, config.MultipartChunkBytes)
	}
	client, closeIdle, err := newClient(config)
	if err != nil {
		return nil, err
	}
	place := hostOf(config.EndpointURL)
	if config.EndpointURL == "" {
		place = "Amazon S3 in " + config.Region
	}
	return &Backend{
		config: config, place: place, client: client, pool: pool, close: closeIdle, downloads: downloadsOf(config),
		checks: newChecksumCheck(), maxCopy: maxSinglePutBytes, copyPart: 256 << 20, maxParts: MaxParts, maxUploads: maxUploadsListed,
	}, nil
}

func downloadsOf(config Config) *shares.Pool {
	return shares.New(int64(max(1, config.MaxConnections-max(1, config.MaxConnections/4))))
}

// ForProbe returns the backend of the same place below the probe prefix, with memory of
// its own. It uses the connections of b: closing it closes nothing.
func (b *Backend) ForProbe(pool *buffer.Pool) *Backend {
	return &Backend{
		config: b.config.ForProbe(), place: b.place, client: b.client, pool: pool, close: func() {}, downloads: downloadsOf(b.config),
		checks: newChecksumCheck(), maxCopy: b.maxCopy, copyPart: b.copyPart, maxParts: b.maxParts, maxUploads: b.maxUploads,
	}
}

// Close closes idle connections.
func (b *Backend) Close() error {
	b.close()
	return nil
}

// Health lists at most one key below the prefix: unlike that of a HEAD, an error answer
// has a body. Health is not retried: its callers call it again.
func (b *Backend) Health(ctx context.Context) error {
	answer, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &b.config.Bucket, Prefix: b.key(string(blobsPrefix)), MaxKeys: aws.Int32(1),
	})
	if err == nil && aws.ToString(answer.Name) != b.config.Bucket {
		// Any web page looks like a list without keys.
		err = errNotS3
	}
	return b.failed(ctx, "list", err)
}

// key returns the complete key as the SDK takes it.
func (b *Backend) key(key string) *string {
	return aws.String(join(b.config.KeyPrefix, key))
}

// isCode reports whether the server answered with one of the codes.
func isCode(err error, codes ...string) bool {
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}
