package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if err == nil {
		return writeLine(w, sweepLine{SweepReport: report})
	}
	if w.status == 0 {
		return errors.Join(placeProblem(err), err) // nothing was sent yet: a problem with its status
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
func (c *Client) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (registry.SweepReport, error) {
	var line sweepLine
	if nameOrID == "" {
		return line.SweepReport, registry.ErrNotFound
	}
	request := call{method: http.MethodPost, path: "/v1/backends/" + segment(nameOrID) + "/sweeps", header: http.Header{"Accept": {"application/x-ndjson"}}}
	if dryRun {
		request.query = url.Values{"dryRun": {"true"}}
	}
	response, err := c.do(ctx, request)
	if err != nil {
		return line.SweepReport, err
	}
	defer response.Body.Close()
	lines := bufio.NewReaderSize(response.Body, 64<<10)
	for {
		text, err := readLine(lines)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return line.SweepReport, fmt.Errorf("the sweep of %s broke off: %w", nameOrID, err)
		}
		line = sweepLine{}
		if err := json.Unmarshal(text, &line); err != nil {
			return line.SweepReport, fmt.Errorf("reading a report of the sweep of %s: %w", nameOrID, err)
		}
		if line.Problem != nil {
			return line.SweepReport, line.Problem.restore()
		}
		if progress != nil {
			progress(line.SweepReport)
		}
		if line.Done {
			return line.SweepReport, nil
		}
	}
}
