package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// verifyBackend answers with lines of JSON, at most five a second and the last
// one done or with a problem. A client that leaves ends the run.
func (h *handler) verifyBackend(w *serving.Writer, r *http.Request) error {
	options, err := wire.ParseVerifyQuery(r.URL.Query())
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
	report, err := h.registry.VerifyBackend(ctx, r.PathValue("id"), options, func(report registry.VerifyReport) {
		if report.Done || time.Since(last) < progressInterval {
			return
		}
		last = time.Now()
		if writeLine(w, wire.VerifyLine{VerifyReport: report}) != nil {
			cancel()
		}
	})
	if err == nil {
		return writeLine(w, wire.VerifyLine{VerifyReport: report})
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
	line := wire.VerifyLine{VerifyReport: report, Problem: (*wire.Problem)(h.explain(r, p, err))}
	line.Done, line.Error = false, line.Problem.Message()
	return writeLine(w, line)
}

func writeLine(w *serving.Writer, line any) error {
	if !w.Begun() {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("X-Accel-Buffering", "no")
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

type listLocations struct {
	ID    string `path:"id" doc:"the backend's name or its id"`
	State string `query:"state" enum:"failed" doc:"failed: only those that failed before"`
	After string `query:"after" doc:"the next of an earlier page"`
	Limit int    `query:"limit" minimum:"0" maximum:"1000" doc:"locations in a page; 0 is 1000"`
}

type recordFindings struct {
	ID   string `path:"id" doc:"the backend's name or its id"`
	Body registry.VerifyFindings
}

// registerVerifications adds what those need who read a backend themselves.
func (h *handler) registerVerifications(api huma.API) {
	register(h, api, operation(http.MethodGet, "/v1/backends/{id}/locations", "listLocations", "What should be in a backend, verified longest ago first", "backends", 200),
		func(ctx context.Context, in *listLocations) (*body[registry.LocationPage], error) {
			page, err := h.registry.ListLocations(ctx, in.ID, registry.LocationQuery{Failed: in.State != "", After: in.After, Limit: in.Limit})
			if page.Locations == nil {
				page.Locations = []verify.Location{}
			}
			return &body[registry.LocationPage]{page}, ofPlace(err)
		})
	register(h, api, operation(http.MethodPost, "/v1/backends/{id}/findings", "recordFindings", "Record what was found of locations by reading them", "backends", 200),
		func(ctx context.Context, in *recordFindings) (*body[registry.RecordedFindings], error) {
			recorded, err := h.registry.RecordFindings(ctx, in.ID, in.Body)
			return &body[registry.RecordedFindings]{recorded}, ofPlace(err)
		})
}
