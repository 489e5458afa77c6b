// Package storage keeps blobs by digest. It knows no packages, no registry and
// no Kubernetes.
//
// Layout that every driver writes, below its key prefix (or folder):
//
//	<algorithm>/<hex[0:2]>/<hex[2:4]>/<hex>   a blob, complete and verified
//	.artifactstore/identity                   whose backend this is (JSON, see Marker)
//	.artifactstore/staging/…                  bytes that are not verified yet
//	.artifactstore/probe/…                    what the health check writes
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
// Errors wrap one of the sentinels of errors.go where one applies; anything
// else is a fault that says nothing about the bytes. A method returns soon
// after its context ends.
type Store interface {
	// Put stores the bytes of src and returns what they are. When it returns
	// nil the bytes are durable under their digest and have been proven equal
	// to it by our own hash; when it returns an error, nothing became visible
	// and nothing stays behind on the caller's account (a crash may leave
	// staged bytes, never a blob). Putting what is there already succeeds.
	// A digest or size that disagrees is a *MismatchError. src.Reader is read
	// at most once, to its end unless Put fails.
	Put(ctx context.Context, src Source) (Info, error)

	// Get opens the blob, or the part of it that rng names (nil: all). The
	// reader gives exactly that many bytes or an error; it does not verify the
	// digest. Missing is ErrNotFound, a range outside the blob ErrRange. Info
	// is of the whole blob. The caller closes the reader.
	Get(ctx context.Context, name digest.Digest, rng *Range) (io.ReadCloser, Info, error)

	// Head returns what is known without reading the blob. Missing is ErrNotFound.
	Head(ctx context.Context, name digest.Digest) (Info, error)

	// Delete removes the blob. Missing is success.
	Delete(ctx context.Context, name digest.Digest) error

	// List yields every blob once, in ascending order of the hex digest; an
	// error ends it. What is put or deleted meanwhile may or may not appear.
	List(ctx context.Context) iter.Seq2[Info, error]

	// Health reports whether the place can be reached and is the place that
	// was meant, with one cheap request that reads no blob and writes nothing.
	// Its error tells which part is wrong (ErrUnreachable, ErrDenied, ErrNoPlace).
	Health(ctx context.Context) error
}

// Source is what Put stores.
type Source struct {
	// Reader gives the bytes.
	Reader io.Reader
	// Size in bytes, or UnknownSize.
	Size int64
	// Want is what the bytes must be. With a SHA-256 they go straight to the
	// final key; without, they are held or staged until they are known.
	Want digest.Dual
	// Tier is how soon the bytes must be back, "" for the place's usual: a
	// wish. Drivers that have no classes of storage, or none for it, ignore it;
	// bytes that are there already stay as they are.
	Tier string
}

// UnknownSize marks a Source whose length is not known before its end.
const UnknownSize int64 = -1

// Info describes one blob.
type Info struct {
	// Digests of the blob. Head, Get and List know the SHA-256 only.
	Digests digest.Dual
	// Size in bytes.
	Size int64
	// Modified is when the place says the object was last written.
	Modified time.Time
}

// Range is a part of a blob: Length bytes from Offset. Offset+Length must not
// exceed the blob's size.
type Range struct {
	Offset, Length int64
}

// Marked is a place that says whose it is. Every driver implements it beside
// Store.
type Marked interface {
	// ReadMarker returns the marker object's bytes, ErrNotFound if there is none.
	ReadMarker(ctx context.Context) ([]byte, error)
	// CreateMarker writes the marker if there is none. It returns the bytes
	// that stand there afterwards: those of another writer who was first.
	CreateMarker(ctx context.Context, marker []byte) ([]byte, error)
}

// Backend is what a driver is: a Store in a place that says whose it is and
// what was left behind in it.
type Backend interface {
	Store
	Marked
	Cleaner
	// Close releases connections and buffers. Requests in flight may fail.
	Close() error
}
