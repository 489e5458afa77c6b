package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
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
	request := call{method: http.MethodPost, path: backendPath(nameOrID, "/verifications"), query: wire.VerifyQuery(o)}
	err = followRun(ctx, c, request, "verification of "+nameOrID, func(line wire.VerifyLine) (bool, *wire.Problem) {
		if report = line.VerifyReport; line.Problem == nil && progress != nil {
			progress(report)
		}
		return line.Done, line.Problem
	})
	return report, err
}

// SweepBackend implements registry.Sweeps. Ending ctx ends the run on the server.
func (c *Client) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (report registry.SweepReport, err error) {
	if nameOrID == "" {
		return report, registry.ErrNotFound
	}
	request := call{method: http.MethodPost, path: backendPath(nameOrID, "/sweeps")}
	if dryRun {
		request.query = url.Values{"dryRun": {"true"}}
	}
	err = followRun(ctx, c, request, "sweep of "+nameOrID, func(line wire.SweepLine) (bool, *wire.Problem) {
		if report = line.SweepReport; line.Problem == nil && progress != nil {
			progress(report)
		}
		return line.Done, line.Problem
	})
	return report, err
}

// followRun starts a run and gives each line of its answer to take, until one
// says that it is done or names a problem. what is for errors.
func followRun[Line any](ctx context.Context, c *Client, request call, what string, take func(Line) (done bool, problem *wire.Problem)) error {
	request.header, request.endless = http.Header{"Accept": {"application/x-ndjson"}}, true
	response, err := c.do(ctx, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReaderSize(response.Body, 64<<10)
	for {
		text, err := readLine(lines)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("the %s was interrupted: %w", what, err)
		}
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("reading a report of the %s: %w", what, err)
		}
		switch done, problem := take(line); {
		case problem != nil:
			return restore(problem)
		case done:
			return nil
		}
	}
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
	err = c.ask(ctx, call{method: http.MethodGet, path: backendPath(nameOrID, "/locations"), query: query, repeat: true}, nil, &answer)
	return answer, err
}

// RecordFindings implements registry.Verifications.
func (c *Client) RecordFindings(ctx context.Context, nameOrID string, found registry.VerifyFindings) (answer registry.RecordedFindings, err error) {
	if nameOrID == "" {
		return answer, registry.ErrNotFound
	}
	err = c.ask(ctx, call{method: http.MethodPost, path: backendPath(nameOrID, "/findings"), repeat: true}, found, &answer)
	return answer, err
}

func backendPath(nameOrID, rest string) string {
	return "/v1/backends/" + wire.Segment(nameOrID) + rest
}
