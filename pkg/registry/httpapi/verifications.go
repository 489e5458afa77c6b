package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// verifyLine is one line of a verification's answer. Problem says why the last one is not done.
type verifyLine struct {
	registry.VerifyReport
	Problem *Problem `json:"problem,omitempty"`
}

// verifyBackend answers with lines of JSON, at most five a second and the last
// one done or with a problem. A client that leaves ends the run.
func (h *handler) verifyBackend(w *responseWriter, r *http.Request) error {
	options, err := verifyOptions(r.URL.Query())
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
		if writeLine(w, verifyLine{VerifyReport: report}) != nil {
			cancel()
		}
	})
	if err == nil {
		return writeLine(w, verifyLine{VerifyReport: report})
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
	line := verifyLine{VerifyReport: report, Problem: h.explain(r, p, err)}
	line.Done, line.Error = false, line.Problem.Error()
	return writeLine(w, line)
}

func writeLine(w *responseWriter, line any) error {
	if w.status == 0 {
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

// verifyQuery says options as query parameters, those that are set; verifyOptions is the inverse.
func verifyQuery(o registry.VerifyOptions) url.Values {
	query := url.Values{}
	set := func(name, value string, is bool) {
		if is {
			query.Set(name, value)
		}
	}
	set("mode", string(o.Mode), o.Mode != "")
	set("rollingPeriod", o.RollingPeriod.String(), o.RollingPeriod != 0)
	set("rollingInterval", o.RollingInterval.String(), o.RollingInterval != 0)
	set("concurrency", strconv.Itoa(o.Concurrency), o.Concurrency != 0)
	set("bandwidth", strconv.FormatInt(o.Bandwidth, 10), o.Bandwidth != 0)
	set("timeLimit", o.TimeLimit.String(), o.TimeLimit != 0)
	return query
}

func verifyOptions(query url.Values) (o registry.VerifyOptions, err error) {
	o.Mode = verify.Mode(query.Get("mode"))
	for name, into := range map[string]*time.Duration{"rollingPeriod": &o.RollingPeriod, "rollingInterval": &o.RollingInterval, "timeLimit": &o.TimeLimit} {
		if text := query.Get(name); text != "" {
			if *into, err = time.ParseDuration(text); err != nil {
				return o, registry.Invalid(name, "%.40q must be a duration, as 90m or 720h", text)
			}
		}
	}
	concurrency, err := queryUint(query, "concurrency", 0, verify.MaxConcurrency)
	if err != nil {
		return o, err
	}
	bytes, err := queryUint(query, "bandwidth", 0, math.MaxInt64)
	o.Concurrency, o.Bandwidth = int(concurrency), int64(bytes)
	return o, err
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

// VerifyBackend implements registry.Verifications. Ending ctx ends the run on the server.
func (c *Client) VerifyBackend(ctx context.Context, nameOrID string, o registry.VerifyOptions, progress func(registry.VerifyReport)) (report registry.VerifyReport, err error) {
	if nameOrID == "" {
		return report, registry.ErrNotFound
	}
	request := call{method: http.MethodPost, path: "/v1/backends/" + segment(nameOrID) + "/verifications", query: verifyQuery(o)}
	err = c.reports(ctx, request, "verification of "+nameOrID,
		func(text []byte) (bool, *Problem, error) {
			var line verifyLine
			err := json.Unmarshal(text, &line)
			if report = line.VerifyReport; err == nil && line.Problem == nil && progress != nil {
				progress(report)
			}
			return line.Done, line.Problem, err
		})
	return report, err
}

// ListLocations implements registry.Verifications.
func (c *Client) ListLocations(ctx context.Context, nameOrID string, q registry.LocationQuery) (answer registry.LocationPage, err error) {
	if nameOrID == "" {
		return answer, registry.ErrNotFound
	}
	if q.Limit < 0 {
		return answer, registry.Invalid("limit", "must not be negative, is %d", q.Limit)
	}
	query := url.Values{}
	if q.Failed {
		query.Set("state", "failed")
	}
	if q.After != "" {
		query.Set("after", q.After)
	}
	if q.Limit != 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/backends/" + segment(nameOrID) + "/locations", query: query, repeat: true}, nil, &answer)
	return answer, err
}

// RecordFindings implements registry.Verifications.
func (c *Client) RecordFindings(ctx context.Context, nameOrID string, found registry.VerifyFindings) (answer registry.RecordedFindings, err error) {
	if nameOrID == "" {
		return answer, registry.ErrNotFound
	}
	err = c.ask(ctx, call{method: http.MethodPost, path: "/v1/backends/" + segment(nameOrID) + "/findings", repeat: true}, found, &answer)
	return answer, err
}
