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
	answer, err := call(ctx, b, b.client.GetObject, &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: b.key(storage.MarkerKey)})
	if err != nil {
		if find(err).kind == storage.ErrNotFound && ctx.Err() == nil {
			return nil, fmt.Errorf("%s: %w", storage.MarkerKey, storage.ErrNotFound)
		}
		return nil, b.failed(ctx, "get the marker", err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	marker, err := io.ReadAll(io.LimitReader(answer.Body, storage.MaxMarkerSize))
	return marker, b.failed(ctx, "get the marker", err)
}

// CreateMarker implements storage.Marked. With the conditional write the first of
// several writers wins on every server that supports it (all tested ones do); on
// others the last one wins. Reading the marker back returns the winner on both, once
// all concurrent writers have written.
func (b *Backend) CreateMarker(ctx context.Context, marker []byte) ([]byte, error) {
	if there, err := b.ReadMarker(ctx); !errors.Is(err, storage.ErrNotFound) {
		return there, err
	}
	err := b.putMarker(ctx, marker, aws.String("*"))
	if statusOf(err) == http.StatusNotImplemented {
		err = b.putMarker(ctx, marker, nil)
	}
	taken := isCode(err, "PreconditionFailed", "ConditionalRequestConflict")
	if err != nil && !taken {
		return nil, b.failed(ctx, "put the marker", err)
	}
	return b.ReadMarker(ctx)
}

// putMarker may be retried without looking first: our own write whose answer was
// lost then counts as one by another writer, and is read back.
func (b *Backend) putMarker(ctx context.Context, marker []byte, unless *string) error {
	sum := sha256.Sum256(marker)
	return b.try(ctx, func(ctx context.Context) error {
		_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.config.Bucket, Key: b.key(storage.MarkerKey), IfNoneMatch: unless,
			Body: bytes.NewReader(marker), ContentType: aws.String("application/json"),
			ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
		}, payloadHash(hex.EncodeToString(sum[:])).option)
		return err
	}, nil)
}
