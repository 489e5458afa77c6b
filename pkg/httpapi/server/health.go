package server

import (
	"context"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewHealthHandler serves /livez, /readyz and /metrics alone, as NewHandler
// does, for an address of their own: whoever asks there needs no token and no
// certificate. Metrics must be those of the handler that serves the registry.
func NewHealthHandler(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n") //nolint:errcheck // who asked is gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if problem := opts.ready(r.Context()); problem != nil {
			problem.write(w)
			return
		}
		io.WriteString(w, "ok\n") //nolint:errcheck // who asked is gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Metrics, promhttp.HandlerOpts{}))
	return mux
}

// ready says why requests should not be sent here, nil if they may be.
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

// stopping: the server will be gone soon.
func (o *Options) stopping() bool { return o.Stopping != nil && o.Stopping.Err() != nil }
