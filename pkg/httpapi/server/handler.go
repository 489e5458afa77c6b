// Package server serves a registry.Registry at /v1. docs/api/http.md is the
// reference, /openapi.json its machine-readable form.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/httpapi/server/address"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// Options of NewHandler; the zero value works.
type Options struct {
	// Logger records what clients are not told; nil is slog.Default().
	Logger *slog.Logger
	// Metrics is served at /metrics; the handler adds its own. nil is a new registry.
	Metrics *prometheus.Registry
	// MoreMetrics are shown at /metrics, too, and must have other names; nil for none.
	MoreMetrics prometheus.Gatherer
	// MetricsApart leaves /metrics to NewHealthHandler.
	MetricsApart bool
	// Ready answers /readyz; the text of its error is sent to the client. nil is always ready.
	Ready func(context.Context) error
	// Context ends the streams (events, verifications, sweeps) when the server
	// stops: http.Server.Shutdown would wait for them. nil never ends.
	Context context.Context
	// Stopping: once it has ended, the server will be gone soon. /readyz is 503
	// and answers ask clients to close their connections, and requests are still
	// served. nil never ends.
	Stopping context.Context
	// StallTimeout ends a request or an answer that has not moved a byte for this long; 0 means serving.StallTimeout.
	StallTimeout time.Duration
	// LargeBodyTimeout is how long a large declaration or manifest may take to arrive, once it is its turn; 0 means the constant.
	LargeBodyTimeout time.Duration
	// Crowded reports whether there are almost as many connections as there may be;
	// nil is never. An unauthenticated request then ends its connection.
	Crowded func() bool
	// RequestsPerSecond of one holder of a token; 0 for no limit.
	RequestsPerSecond float64
	// RequestsAtOnce of one holder; 0 for no limit.
	RequestsAtOnce int
	// Version of the program, shown in /openapi.json.
	Version string
	// LoopbackOnly refuses requests whose Host is not this machine's loopback; for a server that listens there.
	LoopbackOnly bool
	// Authenticator says who holds a token; nil disables authentication: every
	// caller is registry.Anonymous. Authorization is up to access.Guard.
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
	if opts.LargeBodyTimeout == 0 {
		opts.LargeBodyTimeout = LargeBodyTimeout
	}
	h := &handler{
		registry: reg, opts: opts, gate: serving.Gate{Authenticator: opts.Authenticator, Open: open}, sweeps: newSweepMetrics(opts.Metrics),
		large:  serving.NewLargeBodies(largeBody, largeBody, opts.LargeBodyTimeout),
		medium: serving.NewLargeBodies(mediumBodies, smallBody, opts.LargeBodyTimeout), held: serving.NewAnswers(heldAnswers), mux: http.NewServeMux(), holds: map[string]bool{}, files: map[string]byteHandler{},
	}
	api := h.newAPI()
	h.registerOperations(api)
	for _, route := range h.byteRoutes() {
		h.add(api, route)
	}
	h.accepted = acceptedBy(api.OpenAPI())
	h.openapi = specification(api)
	h.mux.HandleFunc("/", h.noRoute)
	return serving.NewHandler(h, serving.Options{
		Logger: opts.Logger, Metrics: serving.NewMetrics(opts.Metrics), Gate: h.gate,
		LoopbackOnly: opts.LoopbackOnly, Stopping: opts.Stopping, StallTimeout: opts.StallTimeout, RequestsPerSecond: opts.RequestsPerSecond, RequestsAtOnce: opts.RequestsAtOnce, Crowded: opts.Crowded,
	})
}

// byteHandler answers a request, or returns an error that is answered for it.
type byteHandler func(w *serving.Writer, r *http.Request) error

// route is one address that is served without huma, and its documentation.
type route struct {
	operation huma.Operation // Method and Path are the route
	serve     byteHandler
}

// open are the addresses that need no token: those for the kubelet, Prometheus,
// and a client that does not know the API yet.
var open = map[string]bool{"/livez": true, "/readyz": true, "/metrics": true, "/openapi.json": true}

// handler is the serving.Face of /v1.
type handler struct {
	registry registry.Registry
	opts     Options
	gate     serving.Gate
	sweeps   *sweepMetrics
	large    *serving.LargeBodies // bodies of more than largeBody, or of unknown length
	medium   *serving.LargeBodies // those of more than smallBody
	held     *serving.Answers     // those of huma's operations that read, and pages of events
	holds    map[string]bool      // which those are, by method and pattern
	mux      *http.ServeMux
	files    map[string]byteHandler // by method and pattern, for addresses that end in a file's path
	accepted map[string]accepted    // by method and pattern
	appends  serving.Running        // PATCH requests, by session and path
	openapi  []byte
}

// byteRoutes lists the operations that move bytes or streams, which huma's
// limits on bodies and time do not fit.
func (h *handler) byteRoutes() []route {
	routes := []route{
		{declareOperation, h.declareFiles},
		{bundleOperation, h.putFiles},
		{publishPackageOperation, h.publishPackage},
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
		{livezOperation, func(w *serving.Writer, _ *http.Request) error { return sendText(w, "ok\n") }},
		{readyzOperation, h.readyz},
		{openapiOperation, func(w *serving.Writer, _ *http.Request) error {
			w.Header().Set("Content-Type", "application/openapi+json")
			_, err := w.Write(h.openapi)
			return err
		}},
	}
	if h.opts.MetricsApart {
		return routes
	}
	metrics := h.opts.metrics()
	return append(routes, route{metricsOperation, func(w *serving.Writer, r *http.Request) error { metrics.ServeHTTP(w, r); return nil }})
}

func (h *handler) add(api huma.API, route route) {
	op := route.operation
	document(api, op)
	if address.IsPattern(op.Path) {
		h.files[op.Method+" "+op.Path] = route.serve
		return
	}
	if op.Method == http.MethodHead {
		return // ServeMux gives HEAD to GET
	}
	h.mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
		h.run(route.serve, w.(*serving.Writer), r)
	})
}

// Serve sends a request to its handler. It takes a file's path from the address
// as it was sent: ServeMux would redirect "a//b" and "a/../b" to a clean path,
// which is the address of another file, where they must be refused.
func (h *handler) Serve(w *serving.Writer, r *http.Request) {
	escaped := r.URL.EscapedPath()
	if at, ok := address.Split(escaped); ok {
		r.Pattern = at.Pattern
		serve, ok := h.files[r.Method+" "+at.Pattern]
		if !ok {
			w.Fail(r, h.methodProblem(w, h.fileMethods(at.Pattern)))
			return
		}
		for field, value := range at.Values {
			r.SetPathValue(field, value)
		}
		err := at.Err
		if err == nil {
			err = h.checkAccepted(r.Method+" "+at.Pattern, r)
		}
		if err != nil {
			w.Fail(r, err)
			return
		}
		h.run(serve, w, r)
		return
	}
	if !address.IsClean(escaped) {
		w.Fail(r, registry.Invalid("path", `the address must not have empty segments, "." or ".."`))
		return
	}
	_, pattern := h.mux.Handler(r)
	if err := h.checkAccepted(pattern, r); err != nil {
		r.Pattern = pattern
		w.Fail(r, err)
		return
	}
	if h.holds[pattern] {
		leave, err := h.held.Enter(w, r)
		if err != nil {
			r.Pattern = pattern
			w.Fail(r, err)
			return
		}
		defer leave()
	}
	if h.accepted[pattern].json {
		leave, err := h.medium.Enter(w, r)
		if err != nil {
			r.Pattern = pattern
			w.Fail(r, err)
			return
		}
		defer leave()
	}
	h.mux.ServeHTTP(w, r)
}

func (h *handler) run(serve byteHandler, w *serving.Writer, r *http.Request) {
	if err := serve(w, r); err != nil {
		w.Fail(r, err)
	}
}

// Refuse answers err with a problem.
func (h *handler) Refuse(w *serving.Writer, r *http.Request, err error) {
	h.explain(r, problemOf(err), err).write(w)
}

// explain gives a problem its request ID, and logs the cause of a 5xx under it.
func (h *handler) explain(r *http.Request, p *problem, err error) *problem {
	answer := *p
	answer.RequestID = newRequestID()
	if p.Status >= http.StatusInternalServerError {
		h.opts.Logger.Log(r.Context(), faultLevel(p.Status), "request failed", "requestId", answer.RequestID,
			"method", r.Method, "route", r.Pattern, "status", p.Status, "error", err)
	}
	return &answer
}

// faultLevel: a 503 is expected while something that the server needs is unavailable.
func faultLevel(status int) slog.Level {
	if status == http.StatusServiceUnavailable {
		return slog.LevelWarn
	}
	return slog.LevelError
}

// noRoute distinguishes a wrong method from a wrong address.
func (h *handler) noRoute(inner http.ResponseWriter, r *http.Request) {
	w := inner.(*serving.Writer)
	r.Pattern = ""
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := h.mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Fail(r, h.methodProblem(w, allowed))
		return
	}
	w.Fail(r, problemAddress.problem(""))
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

func (h *handler) methodProblem(w http.ResponseWriter, allowed []string) *problem {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return problemMethod.problem("allowed: " + strings.Join(allowed, ", "))
}

func (h *handler) readyz(w *serving.Writer, r *http.Request) error {
	if problem := h.opts.ready(r.Context()); problem != nil {
		return problem
	}
	return sendText(w, "ok\n")
}

func byteCount(n int64) string { return strconv.FormatInt(n, 10) + " bytes" }
