package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// blobsPrefix is the prefix of all keys that List returns.
const blobsPrefix = digest.SHA256 + "/"

// Get implements storage.Store. A read that makes progress is limited by ctx alone.
//
// If a body is interrupted or stalls, the reader requests the rest from the next byte
// on under If-Match: it returns one object's bytes, or an error (ErrNotFound if the
// object was deleted meanwhile, ReasonChanged if it was replaced). Over plain http a
// bit may turn in transit unnoticed: neither the driver nor the registry hashes what
// is read; pull and verification do.
func (b *Backend) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	input := &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.Key(name))}
	if rng != nil {
		if rng.Offset < 0 || rng.Length <= 0 {
			return b.getNothing(ctx, name, *rng)
		}
		// The server refuses a range wholly outside. It shortens one that ends
		// outside, which is detected below.
		last := rng.Offset + rng.Length - 1
		if last < rng.Offset {
			return nil, storage.Info{}, fmt.Errorf("%s: %w", *input.Key, storage.ErrRange)
		}
		input.Range = byteRange(rng.Offset, last)
	}
	turn, err := b.downloads.Take(ctx, 1)
	if err != nil {
		return nil, storage.Info{}, b.failed(ctx, "get", err)
	}
	answer, err := call(ctx, b, b.client.GetObject, input)
	if err != nil {
		turn.Return()
		return nil, storage.Info{}, b.readFailed(ctx, "get", name, err)
	}
	r := &reader{b: b, ctx: ctx, turn: turn, name: name, etag: aws.ToString(answer.ETag), body: answer.Body}
	if r.span, err = b.answered(answer, rng); err != nil {
		r.body.Close() //nolint:errcheck // not read
		turn.Return()
		return nil, storage.Info{}, err
	}
	r.counted = r.at
	info := storage.Info{Digests: digest.Dual{SHA256: name}, Size: r.size, Modified: aws.ToTime(answer.LastModified)}
	return r, info, nil
}

// span is a part of an object.
type span struct {
	at, end int64 // bytes at to end-1
	size    int64 // of the object
}

// answered returns what the body of a first answer contains: the requested range, or an error.
func (b *Backend) answered(answer *s3.GetObjectOutput, rng *storage.Range) (span, error) {
	if answer.ContentLength == nil {
		return span{}, b.notAsked() // any end would look like the right one
	}
	length := *answer.ContentLength
	if rng == nil {
		return span{0, length, length}, nil
	}
	got, ok := parseContentRange(aws.ToString(answer.ContentRange))
	if !ok || got.at != rng.Offset || got.end-got.at != length {
		return span{}, b.notAsked()
	}
	if err := rng.Within(got.size); err != nil {
		return span{}, err
	}
	if length != rng.Length {
		return span{}, b.notAsked()
	}
	return got, nil
}

// notAsked is the error for a success that does not fit the request.
func (b *Backend) notAsked() error {
	return &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonServerFailed,
		Message: "the server on " + b.place + " did not answer with the requested range"}
}

func byteRange(first, last int64) *string {
	return aws.String(fmt.Sprintf("bytes=%d-%d", first, last))
}

// getNothing answers an empty range, which HTTP cannot express.
func (b *Backend) getNothing(ctx context.Context, name digest.Digest, rng storage.Range) (io.ReadCloser, storage.Info, error) {
	info, err := b.Head(ctx, name)
	if err != nil {
		return nil, storage.Info{}, err
	}
	if err := rng.Within(info.Size); err != nil {
		return nil, storage.Info{}, err
	}
	return io.NopCloser(bytes.NewReader(nil)), info, nil
}

// parseContentRange reads "bytes first-last/size" (RFC 9110, section 14.4).
func parseContentRange(header string) (got span, ok bool) {
	rest, found := strings.CutPrefix(header, "bytes ")
	places, total, foundTotal := strings.Cut(rest, "/")
	from, to, foundPlaces := strings.Cut(places, "-")
	first, errFirst := strconv.ParseUint(from, 10, 62)
	last, errLast := strconv.ParseUint(to, 10, 62)
	size, errSize := strconv.ParseUint(total, 10, 63)
	got = span{int64(first), int64(last) + 1, int64(size)}
	return got, found && foundTotal && foundPlaces && errFirst == nil && errLast == nil && errSize == nil && first <= last && last < size
}

// Head implements storage.Store. The answer to a HEAD has no body, so if it is an
// error, Health finds out which one: a 404 means a missing blob only if the server
// answers like S3.
func (b *Backend) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	answer, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.Key(name))})
	if err != nil {
		status := statusOf(err)
		if status == http.StatusNotFound || status == http.StatusForbidden || status == http.StatusBadRequest {
			if unhealthy := b.Health(ctx); unhealthy != nil {
				return storage.Info{}, unhealthy
			}
		}
		if status == http.StatusNotFound {
			return storage.Info{}, fmt.Errorf("%s: %w", name, storage.ErrNotFound)
		}
		return storage.Info{}, b.failed(ctx, "head", err)
	}
	return storage.Info{
		Digests:  digest.Dual{SHA256: name},
		Size:     aws.ToInt64(answer.ContentLength),
		Modified: aws.ToTime(answer.LastModified),
	}, nil
}

// readFailed is failed, except that it names a missing blob.
func (b *Backend) readFailed(ctx context.Context, verb string, name digest.Digest, err error) error {
	if find(err).kind == storage.ErrNotFound && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", name, storage.ErrNotFound)
	}
	return b.failed(ctx, verb, err)
}

// Delete implements storage.Store.
func (b *Backend) Delete(ctx context.Context, name digest.Digest) error {
	err := b.erase(ctx, b.key(storage.Key(name)))
	if isCode(err, "NoSuchKey") {
		return nil
	}
	return b.failed(ctx, "delete", err)
}

// List implements storage.Store: servers list keys in bytewise order, which is the
// order of the digests.
func (b *Backend) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(lister{b}, &s3.ListObjectsV2Input{
			Bucket: &b.config.Bucket, Prefix: b.key(string(blobsPrefix)),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(storage.Info{}, b.failed(ctx, "list", err))
				return
			}
			for _, object := range page.Contents {
				key := strings.TrimPrefix(aws.ToString(object.Key), *b.key(""))
				name, ok := storage.ParseKey(key)
				if !ok {
					continue
				}
				info := storage.Info{Digests: digest.Dual{SHA256: name}, Size: aws.ToInt64(object.Size), Modified: aws.ToTime(object.LastModified)}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}
