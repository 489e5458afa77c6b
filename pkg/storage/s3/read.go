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

// blobsPrefix is below what List looks.
const blobsPrefix = digest.SHA256 + "/"

// Get implements storage.Store.
func (b *Backend) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	input := &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.Key(name))}
	if rng != nil {
		if rng.Offset < 0 || rng.Length <= 0 {
			return b.getNothing(ctx, name, *rng)
		}
		// What lies wholly outside is refused by the server; what ends
		// outside it shortens, which is seen below.
		last := rng.Offset + rng.Length - 1
		if last < rng.Offset {
			return nil, storage.Info{}, fmt.Errorf("%s: %w", *input.Key, storage.ErrRange)
		}
		input.Range = aws.String(fmt.Sprintf("bytes=%d-%d", rng.Offset, last))
	}
	answer, err := b.client.GetObject(ctx, input)
	if err != nil {
		return nil, storage.Info{}, b.readFailed(ctx, "get", name, err)
	}
	info := storage.Info{Digests: digest.Dual{SHA256: name}, Size: aws.ToInt64(answer.ContentLength), Modified: aws.ToTime(answer.LastModified)}
	length := info.Size
	if rng != nil {
		first, size, ok := parseContentRange(aws.ToString(answer.ContentRange))
		info.Size = size
		if !ok || first != rng.Offset {
			err = &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonServerFailed,
				Message: "the server on " + b.place + " did not answer with the range that was asked for"}
		} else {
			err = rng.Within(size)
		}
		if err != nil {
			answer.Body.Close() //nolint:errcheck // not read
			return nil, storage.Info{}, err
		}
	}
	return &reader{b: b, ctx: ctx, body: answer.Body, rest: length}, info, nil
}

// getNothing answers a range without bytes, which HTTP cannot express.
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
func parseContentRange(header string) (first, size int64, ok bool) {
	rest, found := strings.CutPrefix(header, "bytes ")
	span, total, foundTotal := strings.Cut(rest, "/")
	from, _, foundSpan := strings.Cut(span, "-")
	first, errFirst := strconv.ParseInt(from, 10, 64)
	size, errSize := strconv.ParseInt(total, 10, 64)
	return first, size, found && foundTotal && foundSpan && errFirst == nil && errSize == nil
}

// Head implements storage.Store. The answer to a HEAD has no body, so when it
// is an error, Health is asked which one: a 404 means missing only from a server
// that answers as S3 does.
func (b *Backend) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	answer, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.Key(name))})
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

// readFailed is failed, with the blob's name where it is missing.
func (b *Backend) readFailed(ctx context.Context, verb string, name digest.Digest, err error) error {
	if find(err).kind == storage.ErrNotFound && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", name, storage.ErrNotFound)
	}
	return b.failed(ctx, verb, err)
}

// Delete implements storage.Store.
func (b *Backend) Delete(ctx context.Context, name digest.Digest) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.Key(name))})
	if isCode(err, "NoSuchKey") {
		return nil
	}
	return b.failed(ctx, "delete", err)
}

// List implements storage.Store: servers list keys in bytewise order, which is
// the order of the digests.
func (b *Backend) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
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

// reader gives exactly the bytes that were promised, or an error.
type reader struct {
	b    *Backend
	ctx  context.Context // of the request that the body belongs to
	body io.ReadCloser
	rest int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.rest == 0 {
		return 0, io.EOF
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.rest)])
	r.rest -= int64(n)
	switch {
	case err == io.EOF && r.rest > 0:
		err = r.b.failed(r.ctx, "get", io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		err = r.b.failed(r.ctx, "get", err)
	}
	return n, err
}

// Close drains nothing: a body that was not read to its end costs the connection.
func (r *reader) Close() error { return r.body.Close() }
