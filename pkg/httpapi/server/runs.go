package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// verifyBackend re-reads a backend's objects.
func (h *handler) verifyBackend(w *serving.Writer, r *http.Request) error {
	options, err := wire.ParseVerifyQuery(r.URL.Query())
	if err != nil {
		return err
	}
	return h.answerRun(w, r, func(ctx context.Context, show func(any)) (lastLine, error) {
		report, err := h.registry.VerifyBackend(ctx, r.PathValue("id"), options, func(report registry.VerifyReport) {
			if !report.Done {
				show(wire.VerifyLine{VerifyReport: report})
			}
		})
		return &wire.VerifyLine{VerifyReport: report}, err
	})
}

// sweepBackend removes what was left behind in a backend.
func (h *handler) sweepBackend(w *serving.Writer, r *http.Request) error {
	dryRun, err := wire.QueryBool(r.URL.Query(), "dryRun")
	if err != nil {
		return err
	}
	return h.answerRun(w, r, func(ctx context.Context, show func(any)) (lastLine, error) {
		report, err := h.registry.SweepBackend(ctx, r.PathValue("id"), dryRun, func(report registry.SweepReport) {
			if !report.Done && report.Error == "" {
				show(wire.SweepLine{SweepReport: report})
			}
		})
		h.sweeps.swept(report, time.Now())
		return &wire.SweepLine{SweepReport: report}, err
	})
}

// lastLine ends the answer to a run. Fail says why the run is not done.
type lastLine interface{ Fail(*wire.Problem) }

// answerRun answers a run that may take hours with lines of JSON: at most five
// a second while it lasts, and the last line when it ends. Lines that come
// sooner are left out. The run ends when its client leaves or the server stops.
func (h *handler) answerRun(w *serving.Writer, r *http.Request, run func(ctx context.Context, show func(line any)) (lastLine, error)) error {
	if h.opts.Context.Err() != nil {
		return problemStopping.problem("")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.opts.Context, cancel)()

	var shown time.Time
	last, err := run(ctx, func(line any) {
		if time.Since(shown) < progressInterval {
			return
		}
		shown = time.Now()
		if writeLine(w, line) != nil {
			cancel()
		}
	})
	switch {
	case err == nil:
		return writeLine(w, last)
	case !w.Begun():
		return ofPlace(err) // nothing was sent yet: a problem with its status
	case r.Context().Err() != nil:
		return nil
	}
	p := placeProblem(err)
	if errors.Is(err, context.Canceled) && h.opts.Context.Err() != nil {
		p = problemStopping.problem("")
	}
	last.Fail((*wire.Problem)(h.explain(r, p, err)))
	return writeLine(w, last)
}

func writeLine(w *serving.Writer, line any) error {
	if !w.Begun() {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the lines back
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encoding a report: %w", err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return err
	}
	w.Flush()
	return nil
}

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
