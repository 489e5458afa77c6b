// Package storage stores blobs by digest. It knows neither packages nor the
// registry nor Kubernetes.
//
// Every driver writes this layout below its key prefix (or folder):
//
//	<algorithm>/<hex[0:2]>/<hex[2:4]>/<hex>   a blob, complete and verified
//	.artifactstore/identity                   whose backend this is (see Marked)
//	.artifactstore/head                       how far the log had come (see Marked)
//	.artifactstore/staging/…                  unverified bytes
//	.artifactstore/probe/…                    objects of the health check
package storage

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// Store is the storage SPI: blobs by their SHA-256 digest, never by key or URL.
//
// All methods may be called concurrently, by many processes on one place.
// Errors wrap one of the sentinels of errors.go where one applies; any other
// error is a fault that says nothing about the bytes. A method returns soon
// after its context ends.
type Store interface {
	// Put stores the bytes of src and returns their Info. If it returns nil,
	// the bytes are durable under their digest, and our own hash has proven
	// that they match it. If it returns an error, nothing became visible, and
	// Put has removed what it staged (a crash may leave staged bytes, never a
	// blob). Putting an existing blob succeeds. A digest or size that differs
	// is a *MismatchError. src.Reader is read at most once, and to its end
	// unless Put fails.
	Put(ctx context.Context, src Source) (Info, error)

	// Get opens the blob, or the part of it that rng names (nil: all of it).
	// The reader returns exactly that many bytes or an error; it does not
	// verify the digest. A missing blob is ErrNotFound, a range outside the
	// blob ErrRange. Info describes the whole blob. The caller closes the reader.
	Get(ctx context.Context, name digest.Digest, rng *Range) (io.ReadCloser, Info, error)

	// Head returns the Info without reading the blob. A missing blob is ErrNotFound.
	Head(ctx context.Context, name digest.Digest) (Info, error)

	// Delete removes the blob. Deleting a missing blob succeeds.
	Delete(ctx context.Context, name digest.Digest) error

	// List yields every blob once, in ascending order of the hex digest; an
	// error says what could not be listed, and what can be follows it. Blobs put or deleted meanwhile may or may not appear.
	List(ctx context.Context) iter.Seq2[Info, error]

	// Health reports whether the place is reachable and still the place that
	// was opened, with one cheap request that reads no blob and writes nothing.
	// Its error says what is wrong (ErrUnreachable, ErrDenied, ErrNoPlace).
	Health(ctx context.Context) error
}

// Copier is a Store in which a large blob that is put without its SHA-256 costs a copy:
// it is staged under another key, and copied by the place.
type Copier interface{ CopiesStaged() bool }

// CopiesStaged reports whether a store is a Copier.
func CopiesStaged(store Store) bool {
	copier, is := store.(Copier)
	return is && copier.CopiesStaged()
}

// Source is what Put stores.
type Source struct {
	Reader io.Reader
	// Size in bytes, or UnknownSize.
	Size int64
	// Want holds the digests that the bytes must have. With a SHA-256, the
	// bytes go straight to the final key; without, they are held in memory or
	// staged until it is computed.
	Want digest.Dual
	// Tier says how soon the bytes must be readable; "" is the place's default.
	// It is a hint: drivers without storage classes, or without a class for the
	// tier, ignore it. Existing bytes stay as they are.
	Tier string
	// Held: the caller knows that the place has the blob of Want.SHA256. A driver whose
	// writes may wait for readers then compares the bytes with the declaration, as ever,
	// and does not write them again if the place has an object of that size.
	Held bool
}

// UnknownSize marks a Source whose size is unknown until its end.
const UnknownSize int64 = -1

// Info describes one blob.
type Info struct {
	// Digests of the blob. Head, Get and List return the SHA-256 only.
	Digests digest.Dual
	// Size in bytes.
	Size int64
	// Modified is the place's time of the last write.
	Modified time.Time
	// Held is set by a Put that found the blob there and did not write it: see Source.
	Held bool
}

// Range is a part of a blob: Length bytes from Offset. Offset+Length must not
// exceed the blob's size.
type Range struct {
	Offset, Length int64
}

// Marked is a place that records its owner, and how far the log that names its
// blobs had come. Every driver implements it beside Store. Both objects have at
// most MaxMarkerSize bytes; the caller defines their content.
type Marked interface {
	// ReadMarker returns the marker object's bytes, or ErrNotFound if there is none.
	ReadMarker(ctx context.Context) ([]byte, error)
	// CreateMarker writes the marker if there is none. It returns the bytes
	// stored afterwards, which are those of the writer that came first.
	CreateMarker(ctx context.Context, marker []byte) ([]byte, error)
	// ReadHeadMark returns the head mark's bytes, or ErrNotFound if there is none.
	ReadHeadMark(ctx context.Context) ([]byte, error)
	// WriteHeadMark replaces the head mark, which the caller has read before. The
	// last of several writers wins, and a reader sees the old or the new one. If
	// the place keeps versions, the old one is removed; kept says that this is
	// not allowed, so that each write leaves one more.
	WriteHeadMark(ctx context.Context, mark []byte) (kept bool, err error)
}

// Backend is what every driver implements: a Store in a place that records its
// owner and lists its orphans.
type Backend interface {
	Store
	Marked
	Cleaner
	// Close releases connections and buffers. Requests in flight may fail.
	Close() error
}
