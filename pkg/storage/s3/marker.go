package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// ReadMarker implements storage.Marked.
func (b *Backend) ReadMarker(ctx context.Context) ([]byte, error) {
	marker, _, err := b.readMark(ctx, storage.MarkerKey, "get the marker")
	return marker, err
}

// ReadHeadMark implements storage.Marked.
func (b *Backend) ReadHeadMark(ctx context.Context) ([]byte, error) {
	mark, version, err := b.readMark(ctx, storage.HeadMarkKey, "get the head mark")
	b.headVersion.Store(version)
	return mark, err
}

// readMark also returns which version it is, where the bucket keeps them, else nil.
func (b *Backend) readMark(ctx context.Context, key, what string) (content []byte, version *string, err error) {
	answer, err := call(ctx, b, b.client.GetObject, &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: b.key(key)})
	if err != nil {
		if find(err).kind == storage.ErrNotFound && ctx.Err() == nil {
			return nil, nil, fmt.Errorf("%s: %w", key, storage.ErrNotFound)
		}
		return nil, nil, b.failed(ctx, what, err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	content, err = io.ReadAll(io.LimitReader(answer.Body, storage.MaxMarkerSize))
	return content, answer.VersionId, b.failed(ctx, what, err)
}

// markerPause is how long a writer waits for others where a conditional write does not
// keep them out: longer than they need from their look at the place to their write.
const markerPause = 2 * time.Second

// CreateMarker implements storage.Marked. Where the server holds to the condition, the
// first of several writers wins. Where it does not (Ceph RGW overwrites in a bucket
// with versions), the last one wins, and each reads the marker back after a pause, when
// all concurrent writers have written.
func (b *Backend) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if there, err := b.ReadMarker(ctx); !errors.Is(err, storage.ErrNotFound) {
		return there, err
	}
	held, err := b.putMarker(ctx, marker)
	if err != nil {
		return nil, b.failed(ctx, "put the marker", err)
	}
	if held {
		there, err := b.ReadMarker(ctx)
		if !errors.Is(err, storage.ErrNotFound) {
			return there, err
		}
		// versitygw refuses the write above a delete marker, although nothing is there.
		if _, err := b.putMark(ctx, storage.MarkerKey, marker, nil); err != nil {
			return nil, b.failed(ctx, "put the marker", err)
		}
	}
	if !backoff.Sleep(ctx, markerPause) {
		return nil, b.failed(ctx, "put the marker", ctx.Err())
	}
	return b.ReadMarker(ctx)
}

// putMarker puts the marker unless there is one, and reports whether the server holds
// to that: it then refuses a second write.
func (b *Backend) putMarker(ctx context.Context, marker []byte) (held bool, err error) {
	for range 2 {
		_, err = b.putMark(ctx, storage.MarkerKey, marker, aws.String("*"))
		switch {
		case isCode(err, "PreconditionFailed", "ConditionalRequestConflict"):
			return true, nil
		case statusOf(err) == http.StatusNotImplemented:
			_, err = b.putMark(ctx, storage.MarkerKey, marker, nil)
			return false, err
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

// WriteHeadMark implements storage.Marked. In a bucket that keeps versions the
// one that was read before is removed, where s3:DeleteObjectVersion is allowed.
func (b *Backend) WriteHeadMark(ctx context.Context, mark []byte) (kept bool, err error) {
	before := b.headVersion.Load()
	version, err := b.putMark(ctx, storage.HeadMarkKey, mark, nil)
	if err != nil {
		return false, b.failed(ctx, "put the head mark", err)
	}
	b.headVersion.Store(version)
	if old := aws.ToString(before); old != "" && old != "null" && old != aws.ToString(version) {
		_, err := call(ctx, b, b.client.DeleteObject, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.HeadMarkKey), VersionId: before})
		return err != nil, nil // a rule of the bucket may remove it
	}
	return false, nil
}

// putMark may be repeated without looking first: a marker of our own whose
// answer got lost then counts as that of someone else, and is read back.
func (b *Backend) putMark(ctx context.Context, key string, content []byte, unless *string) (version *string, err error) {
	sum := sha256.Sum256(content)
	err = b.try(ctx, func(ctx context.Context) error {
		answer, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.config.Bucket, Key: b.key(key), IfNoneMatch: unless,
			Body: bytes.NewReader(content), ContentMD5: contentMD5(content), ContentType: aws.String("application/json"),
			ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		}, payloadHash(hex.EncodeToString(sum[:])).option)
		if err == nil {
			version = answer.VersionId
		}
		return err
	}, nil)
	return version, err
}
