package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// VerifyBackend implements registry.Verifications. Ending ctx ends the run on the server.
func (c *Client) VerifyBackend(ctx context.Context, nameOrID string, o registry.VerifyOptions, progress func(registry.VerifyReport)) (report registry.VerifyReport, err error) {
	if nameOrID == "" {
		return report, registry.ErrNotFound
	}
	request := call{method: http.MethodPost, path: "/v1/backends/" + wire.Segment(nameOrID) + "/verifications", query: wire.VerifyQuery(o)}
	err = c.reports(ctx, request, "verification of "+nameOrID,
		func(text []byte) (bool, *wire.Problem, error) {
			var line wire.VerifyLine
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
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/backends/" + wire.Segment(nameOrID) + "/locations", query: query, repeat: true}, nil, &answer)
	return answer, err
}

// RecordFindings implements registry.Verifications.
func (c *Client) RecordFindings(ctx context.Context, nameOrID string, found registry.VerifyFindings) (answer registry.RecordedFindings, err error) {
	if nameOrID == "" {
		return answer, registry.ErrNotFound
	}
	err = c.ask(ctx, call{method: http.MethodPost, path: "/v1/backends/" + wire.Segment(nameOrID) + "/findings", repeat: true}, found, &answer)
	return answer, err
}

// SweepBackend implements registry.Sweeps. Ending ctx ends the run on the server.
func (c *Client) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (report registry.SweepReport, err error) {
	if nameOrID == "" {
		return report, registry.ErrNotFound
	}
	request := call{method: http.MethodPost, path: "/v1/backends/" + wire.Segment(nameOrID) + "/sweeps"}
	if dryRun {
		request.query = url.Values{"dryRun": {"true"}}
	}
	err = c.reports(ctx, request, "sweep of "+nameOrID, func(text []byte) (bool, *wire.Problem, error) {
		var line wire.SweepLine
		err := json.Unmarshal(text, &line)
		if report = line.SweepReport; err == nil && line.Problem == nil && progress != nil {
			progress(report)
		}
		return line.Done, line.Problem, err
	})
	return report, err
}
