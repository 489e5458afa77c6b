package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// endpoints is the API of the design. A route that is added or taken away is a change of it.
var endpoints = []string{
	"DELETE /v1/tags/{producer}/{name}/{tag}", "DELETE /v1/uploads/{id}", "GET /livez", "GET /metrics", "GET /openapi.json", "GET /readyz",
	"GET /v1/backends", "GET /v1/backends/{id}", "GET /v1/backends/{id}/locations", "GET /v1/blobs/{digest}", "GET /v1/blobs/{digest}/uses", "GET /v1/damaged", "GET /v1/events", "GET /v1/health", "GET /v1/manifests/{digest}",
	"GET /v1/packages", "GET /v1/packages/{producer}/{name}", "GET /v1/packages/{producer}/{name}/{version}",
	"GET /v1/packages/{producer}/{name}/{version}/files", "GET /v1/packages/{producer}/{name}/{version}/files/{path}", "GET /v1/tags/{producer}/{name}", "GET /v1/tags/{producer}/{name}/{tag}", "GET /v1/tags/{producer}/{name}/{tag}/history", "GET /v1/uploads/{id}", "GET /v1/whoami",
	"HEAD /v1/blobs/{digest}", "HEAD /v1/packages/{producer}/{name}/{version}/files/{path}", "HEAD /v1/uploads/{id}/files/{path}",
	"PATCH /v1/uploads/{id}/files/{path}", "POST /v1/backends/{id}/findings", "POST /v1/backends/{id}/probe", "POST /v1/backends/{id}/sweeps", "POST /v1/backends/{id}/verifications", "POST /v1/packages", "POST /v1/routing/explain", "POST /v1/uploads",
	"POST /v1/uploads/{id}/bundle", "POST /v1/uploads/{id}/files", "POST /v1/uploads/{id}/publish", "PUT /v1/tags/{producer}/{name}/{tag}", "PUT /v1/uploads/{id}/files/{path}",
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{Version: "1.2.3"})
	response, text := s.do("GET", "/openapi.json", "")
	var document struct {
		OpenAPI    string
		Info       struct{ Version string }
		Paths      map[string]map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil || response.StatusCode != 200 {
		t.Fatalf("got %s, %v", response.Status, err)
	}
	if document.OpenAPI != "3.1.0" || document.Info.Version != "1.2.3" {
		t.Errorf("got openapi %q, version %q", document.OpenAPI, document.Info.Version)
	}
	var got []string
	ids := map[string]bool{}
	for path, item := range document.Paths {
		for method, operation := range item {
			got = append(got, strings.ToUpper(method)+" "+path)
			id, _ := operation["operationId"].(string)
			if id == "" || ids[id] || operation["summary"] == "" {
				t.Errorf("%s %s: operationId %q, summary %q", method, path, id, operation["summary"])
			}
			ids[id] = true
			named := map[string]bool{}
			parameters, _ := operation["parameters"].([]any)
			for _, p := range parameters {
				if p := p.(map[string]any); p["in"] == "path" {
					named["{"+p["name"].(string)+"}"] = true
				}
			}
			if want := strings.Count(path, "{"); len(named) != want {
				t.Errorf("%s %s documents %v", method, path, named)
			}
			if responses := operation["responses"].(map[string]any); responses["default"] == nil || len(responses) < 2 {
				t.Errorf("%s %s documents the answers %v", method, path, responses)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, endpoints) {
		t.Errorf("the document has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(endpoints, "\n"))
	}
	for rest := text; ; {
		_, after, found := strings.Cut(rest, `"$ref":"#/components/schemas/`)
		if !found {
			break
		}
		name, _, _ := strings.Cut(after, `"`)
		if document.Components.Schemas[name] == nil {
			t.Errorf("the schema %s is referred to and not there", name)
		}
		rest = after
	}
	for _, leftover := range []string{"go-type", "ErrorModel", "reflect"} {
		if strings.Contains(text, leftover) {
			t.Errorf("the document has %q in it", leftover)
		}
	}
	// What is documented is served: no address answers that it is none, or has no such method.
	fill := strings.NewReplacer("{id}", "x", "{digest}", "sha256:00", "{producer}", "a", "{name}", "b", "{version}", "c", "{path}", "d")
	for _, endpoint := range endpoints {
		method, path, _ := strings.Cut(endpoint, " ")
		response, text := s.do(method, fill.Replace(path), "")
		if response.StatusCode == 405 || strings.Contains(text, "no-such-address") {
			t.Errorf("%s: got %s %s", endpoint, response.Status, text)
		}
	}
}

func TestProbesAndMetrics(t *testing.T) {
	t.Parallel()
	ready := errors.New("no routing table was loaded yet")
	s := newSite(t, server.Options{Ready: func(context.Context) error { return ready }})
	if response, text := s.do("GET", "/readyz", ""); response.StatusCode != 503 || !strings.Contains(text, ready.Error()) || response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("readyz: got %s %s", response.Status, text)
	}
	if response, _ := s.do("GET", "/livez", ""); response.StatusCode != 200 {
		t.Errorf("livez: got %s", response.Status)
	}
	s.do("PUT", s.file("a"), "12345")
	s.do("GET", "/v1/packages/a/b/c", "")
	s.do("GET", "/nothing/"+s.session, "")
	_, text := s.do("GET", "/metrics", "")
	for _, want := range []string{
		`artifactstore_http_requests_total{code="200",method="PUT",route="/v1/uploads/{id}/files/{path...}"} 1`,
		`artifactstore_http_requests_total{code="404",method="GET",route="GET /v1/packages/{producer}/{name}/{version}"} 1`,
		`artifactstore_http_requests_total{code="404",method="GET",route="none"} 1`,
		`artifactstore_http_received_bytes_total 5`,
		`artifactstore_http_in_flight_requests 1`,
		`artifactstore_http_in_flight_bytes 0`,
		`artifactstore_http_request_duration_seconds_count{method="GET",route="GET /livez"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics have no line %s", want)
		}
	}
	if strings.Contains(text, s.session) {
		t.Error("a session id is a label")
	}
}

// TestMetricsOfSweeps: what sweeps find and remove is counted by backend and kind.
func TestMetricsOfSweeps(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	s.do("PUT", s.file("a"), "12345") // claimed by the session
	for _, age := range []time.Duration{0, 48 * time.Hour} {
		text := age.String()
		info, err := s.fixture.Store.Put(t.Context(), storage.Source{Reader: strings.NewReader(text), Size: int64(len(text))})
		if err != nil {
			t.Fatal(err)
		}
		s.fixture.Age(t, info.Digests.SHA256, age)
	}
	check := func(when string, wanted ...string) {
		t.Helper()
		_, text := s.do("GET", "/metrics", "")
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s, metrics have no line %s", when, want)
			}
		}
		if completed := strings.Contains(text, "artifactstore_sweep_last_completed_timestamp_seconds{"); completed != (when != "dry") {
			t.Errorf("%s: completed: %t", when, completed)
		}
	}
	sweep := func(query string) {
		t.Helper()
		if response, text := s.do("POST", "/v1/backends/"+registrytest.First+"/sweeps"+query, ""); response.StatusCode != 200 {
			t.Fatalf("%s: %s", response.Status, text)
		}
	}
	sweep("?dryRun=true")
	check("dry", "artifactstore_sweep_found{backend=\"first\",kind=\"blob\"} 3\n", "artifactstore_sweep_found{backend=\"first\",kind=\"upload\"} 0\n")
	sweep("")
	check("swept", "artifactstore_sweep_removed_total{backend=\"first\",kind=\"blob\"} 1\n", "artifactstore_sweep_removed_bytes_total{backend=\"first\",kind=\"blob\"} 7\n",
		"artifactstore_sweep_failed_total{backend=\"first\",kind=\"blob\"} 0\n")
	sweep("")
	check("swept again", "artifactstore_sweep_found{backend=\"first\",kind=\"blob\"} 2\n", "artifactstore_sweep_found_bytes{backend=\"first\",kind=\"blob\"} 7\n",
		"artifactstore_sweep_removed_total{backend=\"first\",kind=\"blob\"} 1\n")
}

func TestHealthAndMetricsApart(t *testing.T) {
	t.Parallel()
	stopping, stop := context.WithCancel(t.Context())
	opts := server.Options{Metrics: prometheus.NewRegistry(), MetricsApart: true, Stopping: stopping, Logger: quiet()}
	s := newSite(t, opts)
	apart := "http://" + serve(t, server.NewHealthHandler(opts))
	get := func(path string) (int, string) {
		response, err := http.Get(apart + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		response, _ := s.do("GET", path, "")
		if status, text := get(path); status != 200 || text != "ok\n" || response.StatusCode != 200 || response.Close {
			t.Errorf("%s: got %d %q apart, %s", path, status, text, response.Status)
		}
	}
	if response, _ := s.do("GET", "/metrics", ""); response.StatusCode != 404 {
		t.Errorf("metrics, which are apart: got %s", response.Status)
	}
	if status, text := get("/metrics"); status != 200 || !strings.Contains(text, `artifactstore_http_requests_total{code="200",method="GET",route="GET /livez"} 1`) {
		t.Errorf("metrics apart: got %d\n%s", status, text)
	}
	if status, _ := get("/v1/packages"); status != 404 {
		t.Errorf("the registry at the address of health: got %d", status)
	}

	stop()
	if status, text := get("/readyz"); status != 503 || !strings.Contains(text, "stopping") {
		t.Errorf("readyz of a stopping server: got %d %s", status, text)
	}
	if status, _ := get("/livez"); status != 200 {
		t.Errorf("livez of a stopping server: got %d", status)
	}
	if response, _ := s.do("GET", "/v1/packages", ""); response.StatusCode != 200 || !response.Close {
		t.Errorf("a stopping server answers %s, close %v; want 200, and the connection closed", response.Status, response.Close)
	}
}
