package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// sweepMetrics are of the sweeps that this process ran. Labels are bounded:
// backends are the declared ones, kinds those of a report.
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
		ended:        gauge("last_completed_timestamp_seconds", "When a sweep of the backend, other than a dry run, last completed.", "backend"),
		found:        gauge("found", "Orphans found by the last completed sweep, dry runs included, also those too young or claimed.", "backend", "kind"),
		foundBytes:   gauge("found_bytes", "Size of these orphans in bytes.", "backend", "kind"),
		removed:      counter("removed_total", "Orphans removed."),
		removedBytes: counter("removed_bytes_total", "Size of these orphans in bytes."),
		failed:       counter("failed_total", "Orphans that could not be removed."),
	}
	into.MustRegister(m.ended, m.found, m.foundBytes, m.removed, m.removedBytes, m.failed)
	return m
}

// swept counts the last report of a sweep. An interrupted one counts what it
// removed, but not what it found, which is incomplete.
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
