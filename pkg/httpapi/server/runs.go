package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

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
