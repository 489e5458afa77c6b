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

// Checksums says what proves a part of a multipart upload on its way. A whole
// object in one request always carries the signed SHA-256 that names it.
type Checksums string

// The modes.
const (
	// ChecksumsAuto is ChecksumsWhenSupported where the server is found to
	// check CRC-32C, else ChecksumsWhenRequired; over https too, since TLS may
	// end before the server.
	ChecksumsAuto Checksums = "Auto"
	// ChecksumsWhenRequired signs each part's SHA-256: every server checks it,
	// at one more pass of hashing on both ends.
	ChecksumsWhenRequired Checksums = "WhenRequired"
	// ChecksumsWhenSupported sends an x-amz-checksum-crc32c header with each
	// part, as some buckets want it. Servers that do not know it (Ceph RGW 16)
	// would store whatever arrives, so where the server is not found to check
	// it the part's SHA-256 is signed as well.
	ChecksumsWhenSupported Checksums = "WhenSupported"
)

// askAgain is how long uploads go without a CRC where an outage kept the answer.
const askAgain = 10 * time.Second

// checksumCheck is what was found out about the server.
type checksumCheck struct {
	turn  chan struct{} // holds one token: who takes it may ask and write
	known bool
	crc   bool
	again time.Time // when it is worth asking again, where it is not known
}

func newChecksumCheck() checksumCheck {
	c := checksumCheck{turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// proof is what the parts of an upload carry, of which the server must check at
// least one: nobody reads the object before it is visible.
type proof struct {
	crc    bool // the header x-amz-checksum-crc32c
	signed bool // the SHA-256, in the signature
}

// proofOfParts follows the mode, but never trusts a CRC-32C that the server is
// not known to check.
func (b *Backend) proofOfParts(ctx context.Context) proof {
	if b.config.Checksums == ChecksumsWhenRequired {
		return proof{signed: true}
	}
	checked := b.crcIsChecked(ctx)
	return proof{crc: checked || b.config.Checksums == ChecksumsWhenSupported, signed: !checked}
}

// crcIsChecked says whether the server is known to check a CRC-32C. What cannot
// be found out costs a hash and no safety.
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
		// not each of those that have waited meanwhile, one after the other.
		b.checks.known = err == nil || ctx.Err() == nil && !errors.Is(err, storage.ErrUnreachable) && !errors.Is(err, storage.ErrThrottled)
		b.checks.crc = crc
		if !b.checks.known && ctx.Err() == nil {
			b.checks.again = time.Now().Add(askAgain)
		}
	}
	return b.checks.crc
}

// checksChecksums finds out whether the server refuses bytes that do not have
// the CRC-32C that their header says: it sends a few below the probe prefix,
// and removes them where they were taken. It asks once, without repeating.
func (b *Backend) checksChecksums(ctx context.Context) (bool, error) {
	content := []byte("not what its checksum says")
	wrong := crcHeader(^crc32.Checksum(content, castagnoli))
	key := join(storage.ProbePrefix, "checksum/"+uuid.NewString())
	if b.config.probes { // that is its prefix
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

// crcHeader is a CRC-32 as its header carries it.
func crcHeader(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
