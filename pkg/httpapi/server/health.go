package server

import (
	"context"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewHealthHandler serves only /livez, /readyz and /metrics, for a separate
// address that needs neither a token nor a client certificate. Metrics must be
// those of the handler that serves the registry.
func NewHealthHandler(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n") //nolint:errcheck // the client is gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if problem := opts.ready(r.Context()); problem != nil {
			problem.write(w)
			return
		}
		io.WriteString(w, "ok\n") //nolint:errcheck // the client is gone
	})
	mux.Handle("GET /metrics", opts.metrics())
	return mux
}

// metrics serves what is measured.
func (o *Options) metrics() http.Handler {
	all := prometheus.Gatherers{o.Metrics}
	if o.MoreMetrics != nil {
		all = append(all, o.MoreMetrics)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}

// ready says why the server should get no requests, nil if it should.
func (o *Options) ready(ctx context.Context) *problem {
	if o.stopping() || o.Context != nil && o.Context.Err() != nil {
		return problemStopping.problem("")
	}
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return problemNotReady.problem(err.Error())
		}
	}
	return nil
}

// stopping reports whether the server will be gone soon.
func (o *Options) stopping() bool { return o.Stopping != nil && o.Stopping.Err() != nil }
