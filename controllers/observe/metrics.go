package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
)

// Metrics of the backends, as the last look left them; takenUp is this
// replica's own, whichever replica leads. A nil *Metrics counts nothing.
type Metrics struct {
	duration *prometheus.HistogramVec
	probes   *prometheus.CounterVec
	ready    *prometheus.GaugeVec
	located  *prometheus.GaugeVec
	waiting  *prometheus.GaugeVec
	overdue  *prometheus.GaugeVec
	takenUp  *prometheus.GaugeVec
	older    *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "artifactstore_backend_probe_duration_seconds", Help: "Duration of a probe of the backend.",
			Buckets: []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
		}, []string{"backend"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_backend_probes_total", Help: "Probes of the backend by result; reason is empty on success.",
		}, []string{"backend", "reason"}),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "artifactstore_backend_usable", Help: "1 if the backend is usable as declared, after the failure threshold, else 0.",
		}, []string{"backend"}),
		located: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "artifactstore_backend_locations", Help: "Locations that the log names in the backend, by state.",
		}, []string{"backend", "state"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "artifactstore_backend_oldest_verification_timestamp_seconds", Help: "When the location that has waited longest for verification was last verified, or stored if it never was; 0 if nothing is stored.",
		}, []string{"backend"}),
	}
	m.overdue = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "artifactstore_backend_verification_overdue", Help: "1 if something has not been verified for longer than spec.verification promises, else 0.",
	}, []string{"backend"})
	m.takenUp = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "artifactstore_backend_taken_up_timestamp_seconds", Help: "When this replica began to use the declaration and credentials that it uses now.",
	}, []string{"backend"})
	m.older = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "artifactstore_backend_log_older", Help: "1 if the event log is older than the head mark in the backend, so that nothing is removed there, else 0.",
	}, []string{"backend"})
	registry.MustRegister(m.duration, m.probes, m.ready, m.located, m.waiting, m.overdue, m.takenUp, m.older)
	return m
}

func (m *Metrics) probed(name string, wrong *declared.Problem, took time.Duration) {
	if m == nil {
		return
	}
	reason := ""
	if wrong != nil {
		reason = wrong.Reason
	}
	m.duration.WithLabelValues(name).Observe(took.Seconds())
	m.probes.WithLabelValues(name, reason).Inc()
}

func (m *Metrics) state(name string, settled status.Observation) {
	if m == nil {
		return
	}
	usable := 0.0
	if settled.Problem == nil {
		usable = 1
	}
	m.ready.WithLabelValues(name).Set(usable)
	if settled.Head != nil {
		older := 0.0
		if settled.Head.Older != "" {
			older = 1
		}
		m.older.WithLabelValues(name).Set(older)
	}
	if f := settled.Findings; f != nil {
		m.located.WithLabelValues(name, "live").Set(float64(f.Live))
		m.located.WithLabelValues(name, "corrupt").Set(float64(f.Corrupt))
		m.located.WithLabelValues(name, "missing").Set(float64(f.Missing))
		m.located.WithLabelValues(name, "abandoned").Set(float64(f.Abandoned))
		m.located.WithLabelValues(name, "unreadable").Set(float64(f.Unreadable))
		m.located.WithLabelValues(name, "suspect").Set(float64(f.Suspect))
		since := 0.0
		if !f.WaitingSince.IsZero() {
			since = float64(f.WaitingSince.Unix())
		}
		m.waiting.WithLabelValues(name).Set(since)
	}
}

// served says that requests for the backend go to another driver from now on.
func (m *Metrics) served(name string, at time.Time) {
	if m == nil {
		return
	}
	m.takenUp.WithLabelValues(name).Set(float64(at.UnixMilli()) / 1000)
}

// scheduled says whether what a schedule promises is kept.
func (m *Metrics) scheduled(name string, found *registrar.Findings, overdue bool) {
	if m == nil || found == nil {
		return
	}
	late := 0.0
	if overdue {
		late = 1
	}
	m.overdue.WithLabelValues(name).Set(late)
}

// standDown removes what is true of now alone; counts of what was done stay.
func (m *Metrics) standDown() {
	if m == nil {
		return
	}
	m.ready.Reset()
	m.located.Reset()
	m.waiting.Reset()
	m.overdue.Reset()
	m.older.Reset()
}

// forget removes the series of a backend that is gone.
func (m *Metrics) forget(name string) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"backend": name}
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.duration, m.probes, m.ready, m.located, m.waiting, m.overdue, m.takenUp, m.older} {
		vec.DeletePartialMatch(labels)
	}
}
