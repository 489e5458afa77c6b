package serving

import (
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Writer counts the bytes sent and ends an answer whose reader has stopped. It
// passes files on to net/http's ReadFrom, so that sendfile stays possible. It
// is for one goroutine at a time.
type Writer struct {
	http.ResponseWriter
	control *http.ResponseController
	handler *handler
	body    *bodyReader // of the request, nil if it has none
	status  int         // 0 until the header is sent
	sent    int64       // body bytes
	renewed time.Time
	haste   *haste // nil unless it takes something scarce
}

func (w *Writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // an informational answer is not the answer
		w.status = status
		if w.body != nil {
			w.body.left()
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *Writer) Write(p []byte) (int, error) {
	w.begin(int64(len(p)))
	n, err := w.ResponseWriter.Write(p)
	w.count(int64(n))
	return n, err
}

// ReadFrom sends src in pieces and renews the deadline for each. It unwraps a
// LimitedReader: each piece is one, and the kernel's fast path looks through
// only one.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	from, outer := src, (*io.LimitedReader)(nil)
	left := int64(math.MaxInt64)
	if limited, ok := src.(*io.LimitedReader); ok {
		from, left, outer = limited.R, limited.N, limited
	}
	var total int64
	for left > 0 {
		piece := io.LimitedReader{R: from, N: min(left, writeChunk)}
		w.begin(piece.N)
		asked := piece.N
		n, err := io.Copy(w.ResponseWriter, &piece)
		total, left = total+n, left-n
		if outer != nil {
			outer.N -= n
		}
		w.count(n)
		if err != nil || n < asked {
			return total, err
		}
	}
	return total, nil
}

// begin notes that the header is sent, and renews the deadline of the next n bytes
// (best effort: not every writer has one).
func (w *Writer) begin(n int64) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if now := time.Now(); now.Sub(w.renewed) > w.handler.opts.StallTimeout/8 {
		w.renewed = now
		w.control.SetWriteDeadline(now.Add(w.handler.opts.StallTimeout)) //nolint:errcheck
	}
	if w.haste != nil {
		w.haste.writes(w, n)
	}
}

// Begun reports whether an answer has begun: its status is sent then.
func (w *Writer) Begun() bool { return w.status != 0 }

func (w *Writer) count(n int64) {
	w.sent += n
	w.handler.opts.Metrics.sent.Add(float64(n))
}

// Flush sends buffered bytes.
func (w *Writer) Flush() {
	w.begin(0)
	w.control.Flush() //nolint:errcheck // the next write returns the error
}

// finishRefusal prepares an answer that is sent before the end of a large body,
// and returns what to do after it: read on for a moment. If a server closes
// while bytes arrive, the kernel resets the connection and the client loses the answer.
func (w *Writer) finishRefusal(r *http.Request) func() {
	refused := w.status == 0 && w.body != nil && !w.body.ended && (r.ContentLength < 0 || r.ContentLength > smallBody)
	if !refused || w.body.renewed.IsZero() && r.Header.Get("Expect") != "" {
		return func() {} // net/http handles these: few bytes arrive, or none
	}
	if w.control.EnableFullDuplex() != nil {
		return func() {}
	}
	w.Header().Set("Connection", "close")
	return func() {
		w.Flush()
		w.body.left()
		io.Copy(io.Discard, w.body.body) //nolint:errcheck // ends with the client's, or with its time
	}
}

// Unwrap lets http.ResponseController find the connection.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var (
	_ io.ReaderFrom = (*Writer)(nil)
	_ http.Flusher  = (*Writer)(nil)
)

// bodyReader counts the bytes received, ends a body that stops arriving, and
// remembers why reading ended: the client is the cause, whatever error the
// callers make of it.
type bodyReader struct {
	body    io.ReadCloser
	control *http.ResponseController
	handler *handler
	renewed time.Time
	until   time.Time // when the whole body must have arrived, zero if there is no limit
	ended   bool
	err     error // why reading ended, nil at the regular end
	// interrupted is when reading ends since Interrupt, in Unix nanoseconds; 0 before. It is set from another goroutine.
	interrupted atomic.Int64

	pace *pace // nil unless it is read into something scarce
}

// errInterrupted ends a body by Writer.Interrupt.
var errInterrupted = errors.New("the request was ended for a newer one")

// Interrupt ends the request's body, as a connection that breaks off: what has
// arrived is still read, for interruptGrace, then reading fails. It may be
// called from another goroutine while the request is served.
func (w *Writer) Interrupt() {
	if w.body != nil {
		end := time.Now().Add(interruptGrace)
		w.body.interrupted.Store(end.UnixNano())
		w.control.SetReadDeadline(end) //nolint:errcheck // best effort: else it ends with the next byte
	}
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.renewed) > b.handler.opts.StallTimeout/8 {
		b.renew(now)
	}
	if due := b.pace.due(); !due.IsZero() {
		if !b.until.IsZero() && b.until.Before(due) {
			due = b.until
		}
		b.control.SetReadDeadline(due) //nolint:errcheck // best effort, as above
	}
	// Asked after the deadline is set: if Interrupt sets it from now on, it stays.
	if end := b.interrupted.Load(); end != 0 {
		if time.Now().UnixNano() >= end {
			b.ended, b.err = true, errInterrupted
			return 0, b.err
		}
		b.control.SetReadDeadline(time.Unix(0, end)) //nolint:errcheck // best effort, as above
	}
	n, err := b.body.Read(p)
	if b.pace != nil {
		b.pace.arrived(n)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && b.interrupted.Load() != 0 {
		err = errInterrupted
	}
	b.handler.opts.Metrics.received.Add(float64(n))
	if err != nil {
		b.calm()
		b.ended = true
		if err == io.EOF {
			b.release()
		} else {
			b.err = err
		}
	}
	return n, err
}

// renew sets the deadline of the next byte (best effort, as above).
func (b *bodyReader) renew(now time.Time) {
	b.renewed = now
	deadline := now.Add(b.handler.opts.StallTimeout)
	if !b.until.IsZero() && b.until.Before(deadline) {
		deadline = b.until
	}
	b.control.SetReadDeadline(deadline) //nolint:errcheck
}

// release removes the deadline: net/http continues to read the connection to
// notice that the client left, and must not mistake a slow answer for that.
func (b *bodyReader) release() {
	if !b.renewed.IsZero() {
		b.control.SetReadDeadline(time.Time{}) //nolint:errcheck // best effort, as above
		b.renewed = time.Time{}
	}
}

// left is called when the answer begins. net/http then reads on a little to
// keep the connection: a client that has stopped sending must not block it.
func (b *bodyReader) left() {
	if !b.ended {
		b.control.SetReadDeadline(time.Now().Add(drainTimeout)) //nolint:errcheck // best effort, as above
	}
}

func (b *bodyReader) Close() error { return b.body.Close() }
