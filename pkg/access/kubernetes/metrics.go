package kubernetes

import "github.com/prometheus/client_golang/prometheus"

// Who answered a question that was not cached.
const (
	byServer  = "api-server"
	byKeys    = "keys"          // a token was verified without the API server
	byEarlier = "earlier-allow" // an allow held without it
	byNobody  = "nobody"
)

// metrics of this package.
type metrics struct {
	away      prometheus.Gauge
	tokens    *prometheus.CounterVec
	decisions *prometheus.CounterVec
}

func newMetrics(into prometheus.Registerer) *metrics {
	const namespace, subsystem = "artifactstore", "access"
	m := &metrics{
		away: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "api_server_away", Help: "1 while the API server does not answer and access is decided without it."}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "tokens_total", Help: "Tokens that were not in the cache, by who identified the holder."}, []string{"by"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem,
			Name: "decisions_total", Help: "Decisions that were not in the cache, by who made them."}, []string{"by"}),
	}
	for _, by := range []string{byServer, byKeys, byNobody} {
		m.tokens.WithLabelValues(by)
	}
	for _, by := range []string{byServer, byEarlier, byNobody} {
		m.decisions.WithLabelValues(by)
	}
	if into != nil {
		into.MustRegister(m.away, m.tokens, m.decisions)
	}
	return m
}
