package s3

import "time"

// Defaults of fields that a Config leaves out. StorageBackend's schema has the same.
const (
	DefaultRegion                  = "us-east-1"
	DefaultMultipartThresholdBytes = 16 << 20
	DefaultMultipartChunkBytes     = 8 << 20
	// DefaultRequestTimeout: a server that completes an upload or copies a
	// large object may be silent for most of it.
	DefaultRequestTimeout = time.Minute
	// DefaultMaxConnections: a slow download holds a connection until it ends,
	// so there are more connections than requests that do work.
	DefaultMaxConnections = 512
)

// Bounds of a Config, in bytes or in characters. Those of the service are from the
// Amazon S3 user guide, "Multipart upload limits". StorageBackend's schema has the
// same.
const (
	MaxEndpoint     = 512
	MaxRegion       = 64
	MinBucket       = 3
	MaxBucket       = 63
	MaxKeyPrefix    = 512 // of a key's 1,024 bytes
	MaxStorageClass = 64

	MinMultipartThresholdBytes = 5 << 20
	MaxMultipartThresholdBytes = maxSinglePutBytes
	MinMultipartChunkBytes     = 5 << 20
	MaxMultipartChunkBytes     = 64 << 20 // the service allows 5 GiB, but a part is held in memory
	MaxParts                   = 10_000
	MinRequestTimeout          = time.Second
	MaxRequestTimeout          = 10 * time.Minute
	MaxMaxConnections          = 1024

	maxSinglePutBytes = 5 << 30
	maxUploadsListed  = 1000
)

// Patterns of text fields, in the syntax of RE2.
const (
	// EndpointPattern is a scheme, a host or address, and a port: no user, path,
	// query or fragment. An IPv6 address in brackets is checked separately.
	EndpointPattern = `^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?/?$`
	RegionPattern   = `^[a-z0-9][a-z0-9-]*$`
	// BucketPattern is Amazon's, plus upper case and underscores, which other
	// servers allow. Two consecutive dots are refused separately.
	BucketPattern = `^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$`
	// KeyPrefixPattern allows only what all servers treat alike. On some, a
	// segment is a file name, which is limited to 255 bytes; a segment that
	// begins with a dot could be ours.
	KeyPrefixPattern    = `^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*$`
	StorageClassPattern = `^[A-Z0-9][A-Z0-9_]*$`
)
