package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// Trials tests features of an S3 server beyond the verbs of a Store. The backend
// should be one for probes: the trials write below its prefix.
func (b *Backend) Trials() []storage.Trial {
	return []storage.Trial{
		{Name: "objectLock", Try: b.tryLock}, // first: it decides what may be written
		{Name: "multipart", Needed: true, Writes: true, Try: b.tryMultipart, Sparing: b.tryAbort},
		{Name: "listUploads", Writes: true, Try: b.tryListUploads, Sparing: b.tryListUploads},
		{Name: "conditionalPut", Writes: true, Try: b.tryConditionalPut},
		{Name: "checksums", Writes: true, Try: b.tryChecksums},
		{Name: "storageClass", Writes: true, Try: b.tryStorageClass},
		{Name: "sse", Writes: true, Try: b.trySSE},
		{Name: "clockSkew", Try: b.tryClock},
	}
}

func supported(words string) storage.Found {
	return storage.Found{Status: storage.Supported, Message: words}
}

func unsupported(words string) storage.Found {
	return storage.Found{Status: storage.Unsupported, Message: words}
}

// multipartTried is the size of the blob that is uploaded in two parts, in bytes.
const multipartTried = MinMultipartChunkBytes + 1<<10

// tryMultipart aborts an upload, then puts a blob in two parts like any large blob,
// and reads the bytes around the seam. It has a buffer of its own and waits for no
// upload.
func (b *Backend) tryMultipart(ctx context.Context) (storage.Found, error) {
	// If aborting is denied, every failed upload stays behind, invisible.
	if _, err := b.tryAbort(ctx); err != nil {
		return storage.Found{}, err
	}
	config := b.config
	config.MultipartThresholdBytes, config.MultipartChunkBytes = MinMultipartChunkBytes, MinMultipartChunkBytes
	own, err := New(config, buffer.New(MinMultipartChunkBytes, MinMultipartChunkBytes))
	if err != nil {
		return storage.Found{}, err
	}
	defer own.Close() //nolint:errcheck // only idle connections
	seed := [32]byte([]byte(uuid.NewString()))
	content := func() io.Reader { return io.LimitReader(rand.NewChaCha8(seed), multipartTried) }
	want, _, err := digest.Copy(io.Discard, content())
	if err != nil {
		return storage.Found{}, err
	}
	// Even after an error: after a lost answer the outcome is unknown.
	defer own.discard(ctx, storage.Key(want.SHA256))
	if _, err := own.Put(ctx, storage.Source{Reader: content(), Size: multipartTried, Want: want}); err != nil {
		return storage.Found{}, err
	}
	if err := own.checkSeam(ctx, want.SHA256, content()); err != nil {
		return storage.Found{}, err
	}
	return supported("a blob was stored in two parts and read back; an upload was aborted"), nil
}

// tryAbort begins an upload and aborts it, which leaves no object.
func (b *Backend) tryAbort(ctx context.Context) (storage.Found, error) {
	err := b.tryUpload(ctx, func(u *upload) error {
		_, err := call(ctx, b, b.client.AbortMultipartUpload, &s3.AbortMultipartUploadInput{
			Bucket: &b.config.Bucket, Key: b.key(u.key), UploadId: u.id,
		})
		return b.failed(ctx, "abort an upload", err)
	})
	return supported("an upload was begun and aborted; none was completed, because its object would stay"), err
}

// tryUpload begins an upload, calls with, and removes it.
func (b *Backend) tryUpload(ctx context.Context, with func(*upload) error) error {
	u, err := b.begin(ctx, storage.StagingPrefix+"/"+uuid.NewString(), usualClass, proof{})
	if err != nil {
		return err
	}
	defer u.abortStrays(ctx)
	defer u.abort(ctx)
	return with(u)
}

// tryListUploads looks for an upload and its parts exactly like a sweep.
func (b *Backend) tryListUploads(ctx context.Context) (storage.Found, error) {
	found := supported("unfinished uploads and their parts are listed")
	err := b.tryUpload(ctx, func(u *upload) error {
		listed := false
		for begun, err := range b.unfinished(ctx) {
			if err != nil {
				return err
			}
			if listed = begun.UploadID == aws.ToString(u.id); listed {
				break
			}
		}
		if gone, err := u.gone(ctx); err != nil {
			return b.failed(ctx, "list parts", err)
		} else if gone || !listed {
			found = unsupported("the server does not list an unfinished upload, so sweeps find none")
		}
		return nil
	})
	return found, err
}

// checkSeam compares 1 KiB on either side of the seam between the parts.
func (b *Backend) checkSeam(ctx context.Context, name digest.Digest, content io.Reader) error {
	const around = 1 << 10
	r, _, err := b.Get(ctx, name, &storage.Range{Offset: MinMultipartChunkBytes - around, Length: 2 * around})
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // opened for reading only
	got, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, content, MinMultipartChunkBytes-around); err != nil {
		return err
	}
	want, err := io.ReadAll(content)
	if err == nil && !bytes.Equal(got, want) {
		err = &storage.PlaceError{Reason: storage.ReasonInvalidRequest, Message: "the server on " + b.place + " assembled the parts wrongly"}
	}
	return err
}

// tryPut puts a few bytes under a name of its own, with the configured encryption and
// as modified by change, and calls with to inspect the object. It removes the object
// afterwards.
func (b *Backend) tryPut(ctx context.Context, change func(*s3.PutObjectInput), with func(*s3.PutObjectInput) error) error {
	input := &s3.PutObjectInput{
		Bucket: &b.config.Bucket, Key: b.key("trial/" + uuid.NewString()), ContentType: aws.String(contentType),
		ServerSideEncryption: types.ServerSideEncryption(b.config.SSE),
	}
	if change != nil {
		change(input)
	}
	defer b.removeTried(ctx, input.Key)
	if err := b.putTried(ctx, input); err != nil {
		return err
	}
	if with == nil {
		return nil
	}
	return with(input)
}

// putTried sends the bytes of a trial, which are its key; the error is the SDK's. A
// conditional put is not retried: its own lost attempt would refuse it.
func (b *Backend) putTried(ctx context.Context, input *s3.PutObjectInput) error {
	data := []byte(*input.Key)
	put := func(ctx context.Context) error {
		input.Body, input.ContentMD5 = bytes.NewReader(data), contentMD5(data)
		answer, err := b.client.PutObject(ctx, input, payloadHash(digest.Of(data).SHA256.Hex()).option)
		if err == nil {
			b.noteVersion(input.Key, answer.VersionId)
		}
		return err
	}
	if input.IfNoneMatch != nil {
		return put(ctx)
	}
	return b.try(ctx, put, nil)
}

// removeTried deletes a trial's object even if ctx has ended.
func (b *Backend) removeTried(ctx context.Context, key *string) {
	ctx, cancel := cleanUp(ctx)
	defer cancel()
	b.erase(ctx, key) //nolint:errcheck // a few bytes below the probe prefix are harmless
}

func (b *Backend) tryConditionalPut(ctx context.Context) (storage.Found, error) {
	found := unsupported("a put with If-None-Match overwrites an existing object")
	err := b.tryPut(ctx, nil, func(input *s3.PutObjectInput) error {
		input.IfNoneMatch = aws.String("*")
		err := b.putTried(ctx, input)
		switch {
		case isCode(err, "PreconditionFailed", "ConditionalRequestConflict"):
			found = supported("a put with If-None-Match is refused if the object exists")
			return nil
		case statusOf(err) == http.StatusNotImplemented:
			found = unsupported("the server does not support If-None-Match")
			return nil
		}
		return err
	})
	return found, b.failed(ctx, "put", err)
}

func (b *Backend) tryChecksums(ctx context.Context) (storage.Found, error) {
	checks, err := b.checksChecksums(ctx)
	if err == nil && !checks {
		return unsupported("the server does not verify CRC-32C; parts carry a signed SHA-256, whatever checksums is set to"), nil
	}
	return supported("the server refuses bytes with a wrong CRC-32C"), err
}

// refusal turns the result of a put with a feature into a finding: the place refuses
// the feature if it accepts the same put without it.
func (b *Backend) refusal(ctx context.Context, err error, without func(*s3.PutObjectInput), reason, words string) (storage.Found, error) {
	answered := statusOf(err)
	if answered != http.StatusBadRequest && answered != http.StatusForbidden && answered != http.StatusNotImplemented {
		return storage.Found{}, b.failed(ctx, "put", err)
	}
	if b.tryPut(ctx, without, nil) != nil {
		return storage.Found{}, b.failed(ctx, "put", err) // not because of the feature
	}
	return storage.Found{Status: storage.Unsupported, Reason: reason, Message: words}, nil
}

// tryStorageClass tries every class that a put may request. It reports a class that is
// refused, otherwise one that is not stored.
func (b *Backend) tryStorageClass(ctx context.Context) (storage.Found, error) {
	classes := b.classes()
	if len(classes) == 0 {
		return storage.Found{Status: storage.SupportUnknown, Message: "not tested: no storageClass is set"}, nil
	}
	worst := supported(fmt.Sprintf("storageClass %s is accepted", strings.Join(classes, ", ")))
	for _, class := range classes {
		found, err := b.tryClass(ctx, class)
		if err != nil || found.Reason != "" {
			return found, err
		}
		if found.Status != storage.Supported {
			worst = found
		}
	}
	return worst, nil
}

func (b *Backend) tryClass(ctx context.Context, name string) (storage.Found, error) {
	class := types.StorageClass(name)
	found := supported("")
	err := b.tryPut(ctx, func(input *s3.PutObjectInput) { input.StorageClass = class }, func(input *s3.PutObjectInput) error {
		answer, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: input.Bucket, Key: input.Key})
		if err != nil {
			return err
		}
		// A missing header means standard.
		if kept := cmp.Or(answer.StorageClass, types.StorageClassStandard); kept != class {
			found = unsupported(fmt.Sprintf("storageClass %s is accepted, but the server stores the object in another class", class))
		}
		return nil
	})
	if err != nil {
		return b.refusal(ctx, err, nil, storage.ReasonClassRefused, fmt.Sprintf("the server refuses storageClass %s", class))
	}
	return found, nil
}

func (b *Backend) trySSE(ctx context.Context) (storage.Found, error) {
	sse := types.ServerSideEncryption(b.config.SSE)
	if sse == "" {
		return storage.Found{Status: storage.SupportUnknown, Message: "not tested: no sse is set"}, nil
	}
	found := supported(fmt.Sprintf("the server confirms encryption with %s", sse))
	err := b.tryPut(ctx, nil, func(input *s3.PutObjectInput) error {
		answer, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: input.Bucket, Key: input.Key})
		if err == nil && answer.ServerSideEncryption != sse {
			found = storage.Found{Status: storage.SupportUnknown,
				Message: fmt.Sprintf("warning: the server accepts sse %s but does not confirm encryption; objects may be unencrypted", sse)}
		}
		return err
	})
	if err != nil {
		plain := func(input *s3.PutObjectInput) { input.ServerSideEncryption = "" }
		return b.refusal(ctx, err, plain, storage.ReasonSSERefused, fmt.Sprintf("the server refuses sse %s; some servers require https or a key for it", sse))
	}
	return found, nil
}

const (
	// skewWarned is the difference of the clocks from which on the probe warns.
	skewWarned = 5 * time.Minute
	// skewRefused is the difference from which on servers refuse requests (RequestTimeTooSkewed).
	skewRefused = 15 * time.Minute
)

// tryClock compares the clocks by the Date of any answer.
func (b *Backend) tryClock(ctx context.Context) (storage.Found, error) {
	sent := time.Now()
	answer, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &b.config.Bucket, Prefix: b.key(string(blobsPrefix)), MaxKeys: aws.Int32(1),
	})
	received := time.Now()
	var header http.Header
	if refused := (*smithyhttp.ResponseError)(nil); errors.As(err, &refused) && refused.Response != nil {
		header = refused.Response.Header
	} else if err == nil {
		if raw, ok := awsmiddleware.GetRawResponse(answer.ResultMetadata).(*smithyhttp.Response); ok {
			header = raw.Header
		}
	} else {
		return storage.Found{}, b.failed(ctx, "list", err)
	}
	date, parsing := http.ParseTime(header.Get("Date"))
	if parsing != nil {
		return storage.Found{Status: storage.SupportUnknown, Message: "the server's answer has no Date"}, nil
	}
	return skewFound(sent, received, date, isCode(err, "RequestTimeTooSkewed")), nil
}

// skewFound judges a Date, which is in whole seconds and was written between sent and
// received: both bound what is known of the skew.
func skewFound(sent, received, date time.Time, refused bool) storage.Found {
	atLeast, atMost := date.Sub(received), date.Add(time.Second).Sub(sent)
	skew := time.Duration(0) // the possible value that is closest to zero
	switch {
	case atLeast > 0:
		skew = atLeast
	case atMost < 0:
		skew = -atMost
	}
	words := "the server's clock agrees"
	if skew >= time.Second {
		way := "ahead"
		if atMost < 0 {
			way = "behind"
		}
		words = fmt.Sprintf("the server's clock is %d s %s", int64(skew/time.Second), way)
	}
	found := supported("the clocks differ by less than 5 minutes")
	switch {
	case refused || skew > skewRefused:
		found = unsupported("the clocks differ by more than 15 minutes, and requests are refused")
	case skew > skewWarned:
		found = supported("warning: the clocks differ by more than 5 minutes; from 15 minutes on, requests are refused")
	}
	found.Detail = fmt.Sprintf("%s, to within %d ms", words, (received.Sub(sent) + time.Second).Milliseconds())
	return found
}
