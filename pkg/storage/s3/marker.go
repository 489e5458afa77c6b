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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

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

// CreateMarker implements storage.Marked. With the conditional write the first of
// several writers wins on every server that supports it (all tested ones do); on
// others the last one wins. Reading the marker back returns the winner on both, once
// all concurrent writers have written.
func (b *Backend) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if there, err := b.ReadMarker(ctx); !errors.Is(err, storage.ErrNotFound) {
		return there, err
	}
	_, err := b.putMark(ctx, storage.MarkerKey, marker, aws.String("*"))
	if statusOf(err) == http.StatusNotImplemented {
		_, err = b.putMark(ctx, storage.MarkerKey, marker, nil)
	}
	taken := isCode(err, "PreconditionFailed", "ConditionalRequestConflict")
	if err != nil && !taken {
		return nil, b.failed(ctx, "put the marker", err)
	}
	return b.ReadMarker(ctx)
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
			Body: bytes.NewReader(content), ContentType: aws.String("application/json"),
			ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		}, payloadHash(hex.EncodeToString(sum[:])).option)
		if err == nil {
			version = answer.VersionId
		}
		return err
	}, nil)
	return version, err
}
