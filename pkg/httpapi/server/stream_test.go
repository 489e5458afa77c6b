package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// stream opens the event stream.
func (s *site) stream(query string, headers ...string) (*http.Response, *bufio.Scanner) {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+s.address+"/v1/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	return response, bufio.NewScanner(response.Body)
}

// record reads one event of a stream: its id, event and data lines.
func record(t *testing.T, lines *bufio.Scanner) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for lines.Scan() {
		if lines.Text() == "" && len(fields) > 0 {
			return fields
		}
		if name, value, found := strings.Cut(lines.Text(), ": "); found && name != "" {
			fields[name] = value
		}
	}
	t.Fatalf("the stream ended after %v: %v", fields, lines.Err())
	return nil
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	stopping, stop := context.WithCancel(context.Background())
	defer stop()
	s := newSite(t, server.Options{Context: stopping})
	head, err := s.fixture.Registry.LogHead(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	response, lines := s.stream("?after=0")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	var last string // cursor of the event before the publication
	for position := uint64(1); position <= head.Position; position++ {
		got := record(t, lines)
		last = got["id"]
		var event registry.Event
		if err := json.Unmarshal([]byte(got["data"]), &event); err != nil || event.Position != position || event.Kind != got["event"] || got["id"] != fmt.Sprintf("%s:%d:%.16s", head.LogID, position, event.Hash.Hex()) {
			t.Errorf("got %v (%v), want position %d", got, err, position)
		}
	}
	s.publish("a")
	published := record(t, lines)
	if published["event"] != "v1.package.published" {
		t.Errorf("got %v, want the publication", published)
	}
	// A cursor without a hash is one of an earlier version.
	for _, cursor := range []string{fmt.Sprintf("%s:%d", head.LogID, head.Position), last} {
		_, resumed := s.stream("?after=0", "Last-Event-ID: "+cursor)
		if again := record(t, resumed); again["id"] != published["id"] || again["data"] != published["data"] {
			t.Errorf("resumed at %s with %v, want %v", cursor, again, published)
		}
	}

	accept := "Accept: text/event-stream"
	for _, cursor := range []string{"other:1", "1", ":", head.LogID + ":", head.LogID + ":x", head.LogID + ":-1", head.LogID + ":99", ":1",
		head.LogID + ":1:", head.LogID + ":1:0123456789abcdef", head.LogID + ":0:" + last[len(last)-16:]} {
		s.refused(400, "Last-Event-ID", "GET", "/v1/events", "", accept, "Last-Event-ID: "+cursor)
	}
	s.refused(400, "after", "GET", "/v1/events?after=99", "", accept)
	s.refused(400, "limit", "GET", "/v1/events?limit=1", "", accept) // it would be endless
	s.refused(400, "Last-Event-ID", "GET", "/v1/events", "", fmt.Sprintf("Last-Event-ID: %s:1", head.LogID))

	stop() // ends streams, and begins no more
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data") {
			t.Errorf("after the stop: %s", lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream did not end regularly: %v", err)
	}
	if response, _ := s.stream(""); response.StatusCode != 503 {
		t.Errorf("a stream of a stopping server: got %s", response.Status)
	}
	if response, _ := s.do("GET", "/readyz", ""); response.StatusCode != 503 {
		t.Errorf("readyz of a stopping server: got %s", response.Status)
	}
}

func TestVerificationStream(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	s.publish("a")
	response, text := s.do("POST", "/v1/backends/first/verifications", "")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("got %s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var last registry.VerifyReport
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &last); err != nil || last.Done != (i == len(lines)-1) {
			t.Errorf("line %d of %d: %s (%v)", i+1, len(lines), line, err)
		}
	}
	if last.Verified != 2 || last.Objects != 2 {
		t.Errorf("got %+v, want 2 verified", last)
	}
	if response, _ := s.do("POST", "/v1/backends/none/verifications", ""); response.StatusCode != 404 {
		t.Errorf("an unknown backend: got %s", response.Status)
	}
}

// verifying reports once and then fails, or waits for its context.
type verifying struct {
	registry.Registry
	err   error
	ended chan error
}

func (v *verifying) VerifyBackend(ctx context.Context, name string, _ registry.VerifyOptions, progress func(registry.VerifyReport)) (registry.VerifyReport, error) {
	report := registry.VerifyReport{Backend: name, Objects: 5, CheckedObjects: 1}
	progress(report)
	if v.err == nil {
		<-ctx.Done()
		v.ended <- ctx.Err()
		return report, ctx.Err()
	}
	report.Error = v.err.Error()
	return report, v.err
}

func TestVerificationThatFails(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.1: password=hunter2")
	for want, err := range map[error]error{
		registry.ErrUnavailable: fmt.Errorf("%w: %w", registry.ErrUnavailable, secret),
		nil:                     secret,
	} {
		client := newClient(t, serve(t, server.NewHandler(&verifying{err: err}, server.Options{Logger: quiet()})))
		reports := 0
		report, got := client.VerifyBackend(context.Background(), "x", registry.VerifyOptions{}, func(registry.VerifyReport) { reports++ })
		if got == nil || want != nil && !errors.Is(got, want) || report.Done || report.CheckedObjects != 1 || reports != 1 {
			t.Errorf("got %+v, %v after %d reports, want %v", report, got, reports, want)
		}
		if strings.Contains(fmt.Sprint(got, report), "hunter2") {
			t.Errorf("the inside shows: %v, %+v", got, report)
		}
	}
}

func TestVerificationEndsWithItsClient(t *testing.T) {
	t.Parallel()
	reg := &verifying{ended: make(chan error, 1)}
	client := newClient(t, serve(t, server.NewHandler(reg, server.Options{Logger: quiet()})))
	ctx, cancel := context.WithCancel(context.Background())
	_, err := client.VerifyBackend(ctx, "x", registry.VerifyOptions{}, func(registry.VerifyReport) { cancel() })
	if !errors.Is(err, context.Canceled) || !errors.Is(<-reg.ended, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
