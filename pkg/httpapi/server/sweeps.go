package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// sweepBackend answers as verifyBackend does.
func (h *handler) sweepBackend(w *serving.Writer, r *http.Request) error {
	dryRun, err := wire.QueryBool(r.URL.Query(), "dryRun")
	if err != nil {
		return err
	}
	if h.opts.Context.Err() != nil {
		return problemStopping.problem("")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.opts.Context, cancel)()

	var last time.Time
	report, err := h.registry.SweepBackend(ctx, r.PathValue("id"), dryRun, func(report registry.SweepReport) {
		if report.Done || report.Error != "" || time.Since(last) < progressInterval {
			return
		}
		last = time.Now()
		if writeLine(w, wire.SweepLine{SweepReport: report}) != nil {
			cancel()
		}
	})
	h.sweeps.swept(report, time.Now())
	if err == nil {
		return writeLine(w, wire.SweepLine{SweepReport: report})
	}
	if !w.Begun() {
		return ofPlace(err) // nothing was sent yet: a problem with its status
	}
	if r.Context().Err() != nil {
		return nil
	}
	p := placeProblem(err)
	if errors.Is(err, context.Canceled) && h.opts.Context.Err() != nil {
		p = problemStopping.problem("")
	}
	line := wire.SweepLine{SweepReport: report, Problem: (*wire.Problem)(h.explain(r, p, err))}
	line.Done, line.Error = false, line.Problem.Message()
	return writeLine(w, line)
}
