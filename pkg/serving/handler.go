// Package serving holds what every HTTP API of this program needs, whatever
// its addresses and documents: time limits on connections and bodies, refusals
// that reach the client, ranges and conditions, tokens, metrics. An API is a
// Face: it knows its addresses and how it writes its errors.
package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Face is one API over HTTP. Both methods may be called concurrently.
type Face interface {
	// Serve answers r, or calls w.Fail.
	Serve(w *Writer, r *http.Request)
	// Refuse answers err: an error of this package, or the one that the face
	// passed to w.Fail. No part of an answer has been sent before.
	Refuse(w *Writer, r *http.Request, err error)
}

// Options of NewHandler. Logger and Metrics must be set.
type Options struct {
	Logger  *slog.Logger
	Metrics *Metrics
	// Gate finds out who sends a request.
	Gate Gate
	// LoopbackOnly refuses requests whose Host is not this machine's loopback.
	LoopbackOnly bool
	// Stopping: once it has ended, answers ask clients to close their
	// connections, and requests are still served. nil never ends.
	Stopping context.Context
	// StallTimeout ends a request or an answer that has not moved a byte for this long; 0 means the constant.
	StallTimeout time.Duration
	// Crowded reports whether there are almost as many connections as there may be;
	// nil is never. An unauthenticated request then ends its connection, and never
	// otherwise: clients of OCI begin with one.
	Crowded func() bool
	// RequestsPerSecond of one holder; 0 for no limit.
	RequestsPerSecond float64
	// RequestsAtOnce of one holder; 0 for no limit.
	RequestsAtOnce int
}

// Errors that a face is asked to answer.
var (
	// ErrStalled: the request's body stopped arriving, or arrived too slowly. A
	// body that was interrupted is storage.ErrSource.
	ErrStalled = errors.New("the body stopped arriving")
	// ErrHost: the request is for another host than this machine's loopback.
	ErrHost = errors.New("the request is for another host")
	// ErrOtherSite: a web page of another site has a browser send the request.
	ErrOtherSite = errors.New("the request comes from another site")
)

type handler struct {
	face    Face
	opts    Options
	holders *holders
}

// NewHandler serves face. It may be used by many servers at once.
func NewHandler(face Face, opts Options) http.Handler {
	if opts.StallTimeout == 0 {
		opts.StallTimeout = StallTimeout
	}
	return &handler{face, opts, newHolders(opts.RequestsPerSecond, opts.RequestsAtOnce)}
}

func (h *handler) ServeHTTP(inner http.ResponseWriter, r *http.Request) {
	began, length := time.Now(), r.ContentLength
	control := http.NewResponseController(inner)
	w := &Writer{ResponseWriter: inner, control: control, handler: h}
	h.opts.Metrics.began(r)
	defer func() { h.opts.Metrics.ended(r, length, w.status, began) }()
	defer func() { h.recover(w, r, recover()) }()

	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store") // answers that may be cached replace it
	if h.opts.Stopping != nil && h.opts.Stopping.Err() != nil {
		header.Set("Connection", "close") // over HTTP/2 net/http sends GOAWAY
	}

	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		body := &bodyReader{body: r.Body, control: control, handler: h}
		// In a copy: net/http uses its own request's body to see whether it was
		// read (100-continue) and how much of it is left.
		r = r.WithContext(r.Context())
		r.Body, w.body = body, body
	}
	if h.opts.LoopbackOnly && !ForLoopback(r) {
		expendable(r.Context())
		w.Fail(r, ErrHost)
		return
	}
	if FromOtherSite(r, h.opts.LoopbackOnly) {
		expendable(r.Context())
		w.Fail(r, ErrOtherSite)
		return
	}
	known, err := h.opts.Gate.admit(r)
	if err != nil {
		expendable(r.Context())
		if h.opts.Crowded != nil && h.opts.Crowded() && errors.Is(err, access.ErrUnauthenticated) {
			header.Set("Connection", "close")
		}
		w.Fail(r, err)
		return
	}
	holder := holderOf(known)
	if h.opts.Gate.Open[r.URL.Path] {
		expendable(r.Context())
	} else {
		leave, err := h.holders.enter(holder, r)
		if err != nil {
			w.Fail(r, err)
			return
		}
		defer leave()
	}
	ctx := shares.WithHolder(known.Context(), holder)
	if w.body != nil {
		ctx = shares.WithSource(ctx, w.body)
	}
	r = known.WithContext(ctx)
	h.face.Serve(w, r)
}

// Fail answers err. If an answer has begun, it closes the connection, so that
// the client does not take a part for the whole.
func (w *Writer) Fail(r *http.Request, err error) {
	defer w.finishRefusal(r)()
	h := w.handler
	switch {
	case w.status != 0:
		h.opts.Logger.WarnContext(r.Context(), "response interrupted", "route", r.Pattern, "sent", w.sent, "error", err)
		panic(http.ErrAbortHandler)
	case w.body != nil && w.body.err != nil:
		// First: an interrupted body also ends the context, although the client
		// may have closed only its half of the connection.
		w.Header().Set("Connection", "close")
		h.face.Refuse(w, r, bodyError(w.body.err))
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil: // the client is gone
		w.status = statusClientGone
		panic(http.ErrAbortHandler) // a return would send an empty 200
	default:
		h.face.Refuse(w, r, err)
	}
}

// bodyError says why a body could not be read to its end.
func bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrStalled, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrSource, err)
}

func (h *handler) recover(w *Writer, r *http.Request, cause any) {
	if cause == nil {
		return
	}
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(cause)
	}
	h.opts.Logger.ErrorContext(r.Context(), "handler panicked", "route", r.Pattern, "cause", cause, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h.face.Refuse(w, r, errors.New("panic"))
}

// statusClientGone appears only in the metrics (nginx uses the same number).
const statusClientGone = 499
