package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// sweepLine is one line of a sweep's answer. Problem says why the last one is not done.
type sweepLine struct {
	registry.SweepReport
	Problem *Problem `json:"problem,omitempty"`
}

// sweepBackend answers as verifyBackend does.
func (h *handler) sweepBackend(w *responseWriter, r *http.Request) error {
	dryRun, err := queryBool(r.URL.Query(), "dryRun")
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
		if writeLine(w, sweepLine{SweepReport: report}) != nil {
			cancel()
		}
	})
	h.metrics.sweeps.swept(report, time.Now())
	if err == nil {
		return writeLine(w, sweepLine{SweepReport: report})
	}
	if w.status == 0 {
		return ofPlace(err) // nothing was sent yet: a problem with its status
	}
	if r.Context().Err() != nil {
		return nil
	}
	p := placeProblem(err)
	if errors.Is(err, context.Canceled) && h.opts.Context.Err() != nil {
		p = problemStopping.problem("")
	}
	line := sweepLine{SweepReport: report, Problem: h.explain(r, p, err)}
	line.Done, line.Error = false, line.Problem.Error()
	return writeLine(w, line)
}

// SweepBackend implements registry.Sweeps. Ending ctx ends the run on the server.
func (c *Client) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (report registry.SweepReport, err error) {
	if nameOrID == "" {
		return report, registry.ErrNotFound
	}
	request := call{method: http.MethodPost, path: "/v1/backends/" + segment(nameOrID) + "/sweeps"}
	if dryRun {
		request.query = url.Values{"dryRun": {"true"}}
	}
	err = c.reports(ctx, request, "sweep of "+nameOrID, func(text []byte) (bool, *Problem, error) {
		var line sweepLine
		err := json.Unmarshal(text, &line)
		if report = line.SweepReport; err == nil && line.Problem == nil && progress != nil {
			progress(report)
		}
		return line.Done, line.Problem, err
	})
	return report, err
}
