package serving

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of all requests. Labels are bounded: a route is a pattern of the
// route table, a method one of the standard ones.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	incoming prometheus.Gauge
	received prometheus.Counter
	sent     prometheus.Counter
}

func NewMetrics(into *prometheus.Registry) *Metrics {
	const namespace, subsystem = "artifactstore", "http"
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "requests_total", Help: "Requests answered."}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "request_duration_seconds", Help: "Time from the end of the request header to the end of the response.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60, 600}}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "in_flight_requests", Help: "Requests in progress."}),
		incoming: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "in_flight_bytes", Help: "Sum of the Content-Length of the requests in progress."}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "received_bytes_total", Help: "Body bytes read from clients."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "sent_bytes_total", Help: "Body bytes written to clients."}),
	}
	into.MustRegister(m.requests, m.seconds, m.inFlight, m.incoming, m.received, m.sent)
	return m
}

func (m *Metrics) began(r *http.Request) {
	m.inFlight.Inc()
	m.incoming.Add(float64(max(r.ContentLength, 0)))
}

func (m *Metrics) ended(r *http.Request, length int64, status int, began time.Time) {
	m.inFlight.Dec()
	m.incoming.Sub(float64(max(length, 0)))
	route, method := r.Pattern, r.Method
	if route == "" {
		route = "none"
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	if status == 0 {
		status = http.StatusOK // net/http sends it for a handler that wrote nothing
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route, method).Observe(time.Since(began).Seconds())
}
