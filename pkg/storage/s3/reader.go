package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// readProgress is how many bytes reset the count of breaks: n bytes take at most
// maxAttempts * (1 + n/readProgress) requests, within the Backend's budget.
const readProgress = 64 << 10

// reader returns exactly the promised bytes, or an error. It owns no goroutine;
// between two requests it holds no connection.
type reader struct {
	b    *Backend
	ctx  context.Context // the caller's: it bounds every request and pause
	name digest.Digest
	etag string // of the first answer
	turn *shares.Share
	span // at advances

	body    io.ReadCloser // nil after a break
	cause   error         // of the most recent break
	breaks  int           // consecutive
	counted int64         // value of at when breaks was last reset
	err     error         // final
}

// Read returns the bytes of the body. It returns an error only if no more bytes of
// the same object can be read.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		if r.at == r.end {
			r.err = io.EOF
			break
		}
		// net/http tells the connection of the end from another goroutine, which may
		// be late: what has arrived would be read on.
		if err := r.ctx.Err(); err != nil {
			r.err = err
			break
		}
		if r.body == nil {
			if r.err = r.resume(); r.err != nil {
				break
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
		r.at += int64(n)
		if err != nil && r.at < r.end {
			r.broke(err)
		}
		if n > 0 {
			return n, nil // the next Read handles the error
		}
	}
	return 0, r.err
}

// broke ends a body after an error.
func (r *reader) broke(err error) {
	r.body.Close() //nolint:errcheck // it has failed already
	r.body, r.cause = nil, brokenOff(err)
	if r.at-r.counted >= readProgress {
		r.breaks, r.counted = 0, r.at
	}
	r.breaks++
}

// brokenOff wraps a body's error as one that is retried if the bytes before it are
// right and the rest may arrive over another connection.
func brokenOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	// TLS turns a damaged record into a net.OpError of a private type.
	if errors.As(err, new(*net.OpError)) && findConnection(err).kind == nil {
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return err
}

// condition is the If-Match that only the first answer's object satisfies. It is nil
// if the server returned nothing to compare with: a weak tag never matches.
func (r *reader) condition() *string {
	if r.etag == "" || strings.HasPrefix(r.etag, "W/") {
		return nil
	}
	return &r.etag
}

// resume waits, and requests the rest.
func (r *reader) resume() error {
	if r.condition() == nil || !r.b.again(r.ctx, r.breaks, r.cause) {
		return r.b.failed(r.ctx, "get", r.cause)
	}
	answer, err := call(r.ctx, r.b, r.b.client.GetObject, &s3.GetObjectInput{
		Bucket: &r.b.config.Bucket, Key: r.b.key(storage.Key(r.name)),
		Range: byteRange(r.at, r.end-1), IfMatch: r.condition(),
	})
	if status := statusOf(err); status == http.StatusPreconditionFailed || status == http.StatusRequestedRangeNotSatisfiable {
		return r.changed()
	}
	if err != nil {
		return r.b.readFailed(r.ctx, "get", r.name, err)
	}
	got, ok := parseContentRange(aws.ToString(answer.ContentRange))
	switch {
	case aws.ToString(answer.ETag) != r.etag || ok && got.size != r.size:
		err = r.changed() // the server ignores conditions
	case !ok || got != r.span:
		err = r.b.notAsked()
	}
	if err != nil {
		answer.Body.Close() //nolint:errcheck // not read
		return err
	}
	r.body = answer.Body
	return nil
}

func (r *reader) changed() error {
	return &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonChanged,
		Message: fmt.Sprintf("get in bucket %s on %s: the object was replaced while being read", r.b.config.Bucket, r.b.place)}
}

// Close drains nothing: closing before the end of a body costs the connection.
func (r *reader) Close() error {
	defer r.turn.Return()
	if r.err == nil || r.err == io.EOF {
		r.err = errReaderClosed
	}
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}

var errReaderClosed = errors.New("read after Close")
