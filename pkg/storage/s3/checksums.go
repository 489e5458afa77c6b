package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Checksums says how a part of a multipart upload is protected in transit. A whole
// object in one request always carries the signed SHA-256 that names it, and a
// Content-MD5.
type Checksums string

// The checksum modes.
const (
	// ChecksumsAuto is ChecksumsWhenSupported if the server is found to verify
	// CRC-32C, otherwise ChecksumsWhenRequired. This includes https, since TLS
	// may end before the server.
	ChecksumsAuto Checksums = "Auto"
	// ChecksumsWhenRequired signs each part's SHA-256 and sends its Content-MD5.
	// Every server verifies them, at the cost of more hashes on both sides.
	ChecksumsWhenRequired Checksums = "WhenRequired"
	// ChecksumsWhenSupported sends an x-amz-checksum-crc32c header with each
	// part, which some buckets require. Servers that do not know it (Ceph RGW
	// 16) would store whatever arrives, so unless the server is found to verify
	// it, the part's SHA-256 is signed as well.
	ChecksumsWhenSupported Checksums = "WhenSupported"
)

// askAgain is how long uploads go without a CRC after an outage prevented the check.
const askAgain = 10 * time.Second

// checksumCheck is what is known about the server's verification of CRC-32C.
type checksumCheck struct {
	turn  chan struct{} // holds one token; its taker may ask the server and write the fields
	known bool
	crc   bool
	again time.Time // when to ask again while the answer is unknown
}

func newChecksumCheck() checksumCheck {
	c := checksumCheck{turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// proof is what the parts of an upload carry: a checksum in a header, which Object
// Lock demands, and something that the server verifies, because nobody reads the
// object before it becomes visible.
type proof struct {
	crc    bool // the header x-amz-checksum-crc32c; otherwise Content-MD5
	signed bool // the SHA-256, in the signature
}

// proofOfParts follows the mode, but never relies on a CRC-32C alone unless the
// server is known to verify it.
func (b *Backend) proofOfParts(ctx context.Context) proof {
	if b.config.Checksums == ChecksumsWhenRequired {
		return proof{signed: true}
	}
	checked := b.crcIsChecked(ctx)
	return proof{crc: checked || b.config.Checksums == ChecksumsWhenSupported, signed: !checked}
}

// crcIsChecked reports whether the server is known to verify a CRC-32C. Not
// knowing costs a hash, but no safety.
func (b *Backend) crcIsChecked(ctx context.Context) bool {
	select {
	case <-b.checks.turn:
		defer func() { b.checks.turn <- struct{}{} }()
	case <-ctx.Done():
		return false
	}
	if !b.checks.known && !time.Now().Before(b.checks.again) {
		crc, err := b.checksChecksums(ctx)
		// An outage says nothing about the server: a later upload asks again, but
		// the uploads that waited meanwhile do not ask one after the other.
		b.checks.known = err == nil || ctx.Err() == nil && !errors.Is(err, storage.ErrUnreachable) && !errors.Is(err, storage.ErrThrottled)
		b.checks.crc = crc
		if !b.checks.known && ctx.Err() == nil {
			b.checks.again = time.Now().Add(askAgain)
		}
	}
	return b.checks.crc
}

// checksChecksums finds out whether the server refuses bytes that do not match the
// CRC-32C in their header: it sends a few below the probe prefix, and deletes them
// if they were accepted. It asks once, without retries.
func (b *Backend) checksChecksums(ctx context.Context) (bool, error) {
	content := []byte("not what its checksum says")
	wrong := crcHeader(^crc32.Checksum(content, castagnoli))
	key := join(storage.ProbePrefix, "checksum/"+uuid.NewString())
	if b.config.probes { // its prefix is the probe prefix already
		key = "checksum/" + uuid.NewString()
	}
	answer, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.config.Bucket, Key: b.key(key),
		Body: bytes.NewReader(content), ContentLength: aws.Int64(int64(len(content))),
		ContentType: aws.String(contentType), ChecksumCRC32C: &wrong,
		ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
	}, unsigned.option)
	if isCode(err, "BadDigest", "XAmzContentChecksumMismatch") {
		return true, nil
	}
	if err == nil {
		b.noteVersion(b.key(key), answer.VersionId)
	}
	if err == nil || unclear(err) {
		b.discard(ctx, key)
	}
	return false, b.failed(ctx, "put a wrong checksum", err)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcHeader formats a CRC-32C for its header.
func crcHeader(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
