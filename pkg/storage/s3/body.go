package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // the one checksum that every server knows, beside the SHA-256
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// space is pooled memory for one part or one small blob, in as many buffers as
// needed. It returns to the pool when its last holder releases it.
type space struct {
	pool    *buffer.Pool
	bufs    [][]byte
	filled  int64
	holders atomic.Int32
}

// buffersFor returns the number of buffers for size bytes; an empty blob takes one.
func (b *Backend) buffersFor(size int64) int {
	each := b.pool.Each()
	return int(max(1, (size+each-1)/each))
}

// spaceFor waits until the source has sent bytes for the space, or ended. Then it
// waits for memory for size bytes, all at once, from get, which is one of the
// pool's methods.
func (b *Backend) spaceFor(ctx context.Context, in *intake.Intake, size int64, get func(context.Context, int) ([][]byte, error)) (*space, error) {
	if err := in.Await(ctx); err != nil {
		return nil, err
	}
	bufs, err := get(ctx, b.buffersFor(size))
	if err != nil {
		return nil, err
	}
	return asSpace(b.pool, bufs), nil
}

func asSpace(pool *buffer.Pool, bufs [][]byte) *space {
	s := &space{pool: pool, bufs: bufs}
	s.holders.Store(1)
	return s
}

// fill reads up to limit bytes into the space and reports whether the source ended.
// While others wait for memory, the source must bring them fast enough.
func (s *space) fill(ctx context.Context, in *intake.Intake, limit int64) (end bool, err error) {
	defer shares.Hurry(ctx, s.pool.Crowded(), buffer.LeastRate)()
	for _, buf := range s.bufs {
		if s.filled == limit {
			break
		}
		var n int
		n, end, err = in.Fill(ctx, buf[:min(int64(len(buf)), limit-s.filled)])
		s.filled += int64(n)
		if end || err != nil {
			break
		}
	}
	return end, err
}

// pieces returns the bytes in order. An empty space has one empty piece.
func (s *space) pieces() [][]byte {
	var pieces [][]byte
	rest := s.filled
	for _, buf := range s.bufs {
		n := min(int64(len(buf)), rest)
		if n == 0 && len(pieces) > 0 {
			break
		}
		pieces = append(pieces, buf[:n])
		rest -= n
	}
	return pieces
}

func (s *space) hold() { s.holders.Add(1) }

func (s *space) release() {
	if s.holders.Add(-1) == 0 {
		s.pool.PutN(s.bufs)
	}
}

// crc32c returns the CRC-32C of the bytes in the header's format (about 20 GB/s:
// the processor has an instruction for it).
func (s *space) crc32c() string {
	var sum uint32
	for _, piece := range s.pieces() {
		sum = crc32.Update(sum, castagnoli, piece)
	}
	return crcHeader(sum)
}

// sha256 returns the SHA-256 of the bytes in the format of a signature.
func (s *space) sha256() string {
	hash := sha256.New()
	for _, piece := range s.pieces() {
		hash.Write(piece)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// contentMD5 returns the MD5 of the bytes in the header's format. Object Lock demands
// a checksum in a header with each object and part, whatever the signature covers, and
// Content-MD5 is the one that every known server accepts.
func contentMD5(pieces ...[]byte) *string {
	hash := md5.New() //nolint:gosec // against damage, not against an attacker
	for _, piece := range pieces {
		hash.Write(piece)
	}
	sum := base64.StdEncoding.EncodeToString(hash.Sum(nil))
	return &sum
}

// errRevoked ends a body whose buffers have returned to the pool.
var errRevoked = errors.New("the request is over")

// body reads pieces as a request's body, which may seek back to its start.
//
// http.Transport may continue to read a body after the request has returned (an
// early answer, a cancelled context). revoke stops that before the buffers are
// used for another upload, whose bytes would otherwise be sent.
type body struct {
	mu      sync.Mutex
	pieces  [][]byte
	size    int64
	at      int64
	revoked bool
}

func newBody(pieces [][]byte) *body {
	return &body{pieces: pieces, size: sizeOf(pieces)}
}

func sizeOf(pieces [][]byte) (size int64) {
	for _, piece := range pieces {
		size += int64(len(piece))
	}
	return size
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.revoked {
		return 0, errRevoked
	}
	if b.at >= b.size {
		return 0, io.EOF
	}
	skip := b.at
	for _, piece := range b.pieces {
		if skip < int64(len(piece)) {
			n := copy(p, piece[skip:])
			b.at += int64(n)
			return n, nil
		}
		skip -= int64(len(piece))
	}
	return 0, io.EOF
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of a body")
	}
	b.at = offset
	return offset, nil
}

func (b *body) revoke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revoked = true
	b.pieces = nil
}
