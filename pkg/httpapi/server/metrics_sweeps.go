package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// sweepMetrics are of the sweeps that this process made. Labels are bounded:
// backends are those that are declared, kinds those of a report.
type sweepMetrics struct {
	ended        *prometheus.GaugeVec
	found        *prometheus.GaugeVec
	foundBytes   *prometheus.GaugeVec
	removed      *prometheus.CounterVec
	removedBytes *prometheus.CounterVec
	failed       *prometheus.CounterVec
}

func newSweepMetrics(into *prometheus.Registry) *sweepMetrics {
	const namespace, subsystem = "artifactstore", "sweep"
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, []string{"backend", "kind"})
	}
	m := &sweepMetrics{
		ended:        gauge("last_completed_timestamp_seconds", "When a sweep of the backend that removes came to its end last.", "backend"),
		found:        gauge("found", "Orphans that the last sweep to come to its end found, dry ones included, those too young or claimed as well.", "backend", "kind"),
		foundBytes:   gauge("found_bytes", "Their size.", "backend", "kind"),
		removed:      counter("removed_total", "Orphans removed."),
		removedBytes: counter("removed_bytes_total", "Their size."),
		failed:       counter("failed_total", "Orphans that could not be removed."),
	}
	into.MustRegister(m.ended, m.found, m.foundBytes, m.removed, m.removedBytes, m.failed)
	return m
}

// swept counts the last report of a sweep. What one that broke off has removed
// is gone as well; what it found is not all.
func (m *sweepMetrics) swept(r registry.SweepReport, now time.Time) {
	for _, counts := range r.Kinds {
		if r.Done {
			m.found.WithLabelValues(r.Backend, counts.Kind).Set(float64(counts.Found))
			m.foundBytes.WithLabelValues(r.Backend, counts.Kind).Set(float64(counts.FoundBytes))
		}
		if !r.DryRun {
			m.removed.WithLabelValues(r.Backend, counts.Kind).Add(float64(counts.Removed))
			m.removedBytes.WithLabelValues(r.Backend, counts.Kind).Add(float64(counts.RemovedBytes))
			m.failed.WithLabelValues(r.Backend, counts.Kind).Add(float64(counts.Failed))
		}
	}
	if r.Done && !r.DryRun {
		m.ended.WithLabelValues(r.Backend).Set(float64(now.Unix()))
	}
}
