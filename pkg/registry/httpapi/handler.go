// Package httpapi is the registry over HTTP: Handler serves a
// registry.Registry, Client is one that asks a server. docs/api/http.md is the
// reference for other clients, /openapi.json its machine form.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// Options of NewHandler; the zero value serves.
type Options struct {
	// Logger takes what clients are not told; nil is slog.Default().
	Logger *slog.Logger
	// Metrics is served at /metrics and gets the handler's own; nil is a new one.
	Metrics *prometheus.Registry
	// MetricsApart leaves /metrics to NewHealthHandler.
	MetricsApart bool
	// Ready answers /readyz; its error's text is shown to whoever asks. nil is always ready.
	Ready func(context.Context) error
	// Context ends the streams (events, verifications) when the server is to
	// stop: http.Server.Shutdown would wait for them. nil never does.
	Context context.Context
	// Stopping, once it has ended, says that the server will be gone soon:
	// /readyz is 503 and answers ask clients to leave their connections, which
	// go on being served. nil never ends.
	Stopping context.Context
	// StallTimeout ends a request or an answer that has not moved a byte for so long; 0 is the constant.
	StallTimeout time.Duration
	// LargeBodyTimeout ends a large declaration or manifest that is not there so long after its turn came; 0 is the constant.
	LargeBodyTimeout time.Duration
	// Version of the program, shown in /openapi.json.
	Version string
	// LoopbackOnly refuses requests whose Host is not this machine's loopback; for a server that listens there.
	LoopbackOnly bool
	// Authenticator finds out who asks; nil takes everybody for registry.Anonymous.
	// What he may do is the registry's matter: see access.Guard.
	Authenticator access.Authenticator
}

// NewHandler serves reg. It may be used by many servers at once.
func NewHandler(reg registry.Registry, opts Options) http.Handler {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	if opts.Context == nil {
		opts.Context = context.Background()
	}
	if opts.StallTimeout == 0 {
		opts.StallTimeout = StallTimeout
	}
	if opts.LargeBodyTimeout == 0 {
		opts.LargeBodyTimeout = LargeBodyTimeout
	}
	h := &handler{registry: reg, opts: opts, metrics: newMetrics(opts.Metrics), large: newLargeBodies(opts.LargeBodyTimeout), mux: http.NewServeMux(), files: map[string]byteHandler{}}
	api := h.newAPI()
	h.registerOperations(api)
	for _, route := range h.byteRoutes() {
		h.add(api, route)
	}
	h.openapi = specification(api)
	h.mux.HandleFunc("/", h.noRoute)
	return h
}

// byteHandler answers by itself or returns an error, which is answered for it.
type byteHandler func(w *responseWriter, r *http.Request) error

// route is one address that is served without huma, and its documentation.
type route struct {
	operation huma.Operation // Method and Path are the route
	serve     byteHandler
}

type handler struct {
	registry registry.Registry
	opts     Options
	metrics  *metrics
	large    largeBodies
	mux      *http.ServeMux
	files    map[string]byteHandler // by method and pattern, for addresses that end in a file's path
	openapi  []byte
}

// byteRoutes lists what moves bytes or streams: a framework's limits on bodies
// and time do not fit them.
func (h *handler) byteRoutes() []route {
	routes := []route{
		{declareOperation, h.declareFiles},
		{bundleOperation, h.putFiles},
		{putFileOperation, h.putFile},
		{progressOperation, h.fileProgress},
		{appendOperation, h.appendFile},
		{publishOperation, h.publish},
		{getFileOperation, h.getPackageFile},
		{headFileOperation, h.getPackageFile},
		{getManifestOperation, h.getManifest},
		{getBlobOperation, h.getBlob},
		{headBlobOperation, h.getBlob},
		{eventsOperation, h.getEvents},
		{verifyOperation, h.verifyBackend},
		{sweepOperation, h.sweepBackend},
		{livezOperation, func(w *responseWriter, _ *http.Request) error { return sendText(w, "ok\n") }},
		{readyzOperation, h.readyz},
		{openapiOperation, func(w *responseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "application/openapi+json")
			_, err := w.Write(h.openapi)
			return err
		}},
	}
	if h.opts.MetricsApart {
		return routes
	}
	metrics := promhttp.HandlerFor(h.opts.Metrics, promhttp.HandlerOpts{})
	return append(routes, route{metricsOperation, func(w *responseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil }})
}

func (h *handler) add(api huma.API, route route) {
	op := route.operation
	document(api, op)
	if _, isFile := fileAddresses[op.Path]; isFile {
		h.files[op.Method+" "+op.Path] = route.serve
		return
	}
	if op.Method == http.MethodHead {
		return // ServeMux gives HEAD to GET
	}
	h.mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		h.run(route.serve, w.(*responseWriter), r)
	})
}

func (h *handler) ServeHTTP(inner http.ResponseWriter, r *http.Request) {
	began, length := time.Now(), r.ContentLength
	control := http.NewResponseController(inner)
	w := &responseWriter{ResponseWriter: inner, control: control, metrics: h.metrics, stall: h.opts.StallTimeout}
	h.metrics.began(r)
	defer func() { h.metrics.ended(r, length, w.status, began) }()
	defer func() { h.recover(w, r, recover()) }()

	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store") // what may be kept says so
	if h.opts.stopping() {
		header.Set("Connection", "close") // over HTTP/2 net/http sends GOAWAY
	}

	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		body := &bodyReader{body: r.Body, control: control, metrics: h.metrics, stall: h.opts.StallTimeout}
		// In a copy: net/http looks at its own request's body to see whether it
		// was asked for (100-continue) and how much of it is left.
		r = r.WithContext(r.Context())
		r.Body, w.body = body, body
	}
	if h.opts.LoopbackOnly {
		if err := checkHost(r); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	known, err := h.authenticate(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	r = known
	h.dispatch(w, r)
}

// dispatch sends a request to its handler. A file's path is taken from the
// address as it was sent: ServeMux would clean "a//b" and "a/../b" by a
// redirect, and turn what must be refused into the address of another file.
func (h *handler) dispatch(w *responseWriter, r *http.Request) {
	escaped := r.URL.EscapedPath()
	if address, ok := splitFileAddress(escaped); ok {
		r.Pattern = address.pattern
		serve, ok := h.files[r.Method+" "+address.pattern]
		if !ok {
			h.fail(w, r, h.methodProblem(w, h.fileMethods(address.pattern)))
			return
		}
		for field, value := range address.values {
			r.SetPathValue(field, value)
		}
		if address.err != nil {
			h.fail(w, r, address.err)
			return
		}
		h.run(serve, w, r)
		return
	}
	if !isClean(escaped) {
		h.fail(w, r, registry.Invalid("path", `the address must not have empty segments, "." or ".."`))
		return
	}
	h.mux.ServeHTTP(w, r)
}

func (h *handler) run(serve byteHandler, w *responseWriter, r *http.Request) {
	if err := serve(w, r); err != nil {
		h.fail(w, r, err)
	}
}

// fail answers err. If the answer has begun, the connection is broken off, so
// that the client does not take a part for the whole.
func (h *handler) fail(w *responseWriter, r *http.Request, err error) {
	defer w.finishRefusal(r)()
	switch {
	case w.status != 0:
		h.opts.Logger.WarnContext(r.Context(), "answer broken off", "route", r.Pattern, "sent", w.sent, "error", err)
		panic(http.ErrAbortHandler)
	case w.body != nil && w.body.err != nil:
		// First: a body that broke off also ends the context, and the client
		// may have closed only its half of the connection.
		w.Header().Set("Connection", "close")
		h.explain(r, bodyProblem(w.body.err), err).write(w)
	case clientGone(r.Context(), err):
		w.status = statusClientGone
		panic(http.ErrAbortHandler) // a return would send an empty 200
	default:
		h.explain(r, problemOf(err), err).write(w)
	}
}

// explain gives a problem its request id, and logs the detail of a fault of ours under it.
func (h *handler) explain(r *http.Request, p *Problem, err error) *Problem {
	answer := *p
	answer.RequestID = newRequestID()
	if p.Status >= http.StatusInternalServerError {
		h.opts.Logger.Log(r.Context(), faultLevel(p.Status), "request failed", "requestId", answer.RequestID,
			"method", r.Method, "route", r.Pattern, "status", p.Status, "error", err)
	}
	return &answer
}

// faultLevel: a 503 is what a server is to answer while something is away.
func faultLevel(status int) slog.Level {
	if status == http.StatusServiceUnavailable {
		return slog.LevelWarn
	}
	return slog.LevelError
}

func (h *handler) recover(w *responseWriter, r *http.Request, cause any) {
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
	h.explain(r, problemInternal.problem(""), errors.New("panic")).write(w)
}

// noRoute tells a wrong method from a wrong address.
func (h *handler) noRoute(inner http.ResponseWriter, r *http.Request) {
	w := inner.(*responseWriter)
	r.Pattern = ""
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := h.mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		h.fail(w, r, h.methodProblem(w, allowed))
		return
	}
	h.fail(w, r, problemAddress.problem(""))
}

func (h *handler) fileMethods(pattern string) []string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch} {
		if _, ok := h.files[method+" "+pattern]; ok {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

func (h *handler) methodProblem(w http.ResponseWriter, allowed []string) *Problem {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return problemMethod.problem("allowed: " + strings.Join(allowed, ", "))
}

func (h *handler) readyz(w *responseWriter, r *http.Request) error {
	if problem := h.opts.ready(r.Context()); problem != nil {
		return problem
	}
	return sendText(w, "ok\n")
}

// statusClientGone is seen by the metrics only (nginx calls it so).
const statusClientGone = 499

func byteCount(n int64) string { return strconv.FormatInt(n, 10) + " bytes" }
