package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// documented is what /openapi.json says of one operation.
type documented struct {
	Parameters  []struct{ In, Name string }
	RequestBody *struct{}
}

// TestParametersThatAreNone sends every route of the API parameters that it
// does not have. It would ignore them, although somebody meant something by them.
func TestParametersThatAreNone(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head := s.head()
	_, text := s.do("GET", "/openapi.json", "")
	var document struct {
		Paths map[string]map[string]documented
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{id}", s.session, "{digest}", "sha256:"+strings.Repeat("0", 64), "{producer}", "a", "{name}", "b", "{version}", "c", "{path}", "d")
	tried := 0
	for path, item := range document.Paths {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		address := fill.Replace(path)
		if strings.HasPrefix(path, "/v1/backends/") {
			address = strings.Replace(address, s.session, registrytest.First, 1)
		}
		for name, operation := range item {
			method := strings.ToUpper(name)
			tried++
			refused := func(query string, fields ...string) {
				t.Helper()
				response, text := s.do(method, address+"?"+query, "")
				var p wire.Problem
				json.Unmarshal([]byte(text), &p) //nolint:errcheck // the answer to a HEAD has none
				named := make([]string, len(p.Errors))
				for i, field := range p.Errors {
					named[i] = field.Location
				}
				if response.StatusCode != 400 || method != "HEAD" && !slices.Equal(named, fields) {
					t.Errorf("%s %s?%s: got %s %s, want a 400 problem on %v", method, path, query, response.Status, text, fields)
				}
				for _, field := range fields {
					if method != "HEAD" && !strings.Contains(p.Detail, field+": ") {
						t.Errorf("%s %s?%s: the detail %q does not name %s", method, path, query, p.Detail, field)
					}
				}
			}
			refused("colour=red&dry_run=true", "colour", "dry_run")
			refused("dryrun=true", "dryrun")
			refused("dryRun=true;", "query")
			refused("a=%zz", "query")
			for _, parameter := range operation.Parameters {
				if parameter.In != "query" {
					continue
				}
				refused(strings.ToUpper(parameter.Name)+"=1", strings.ToUpper(parameter.Name))
				refused(parameter.Name+"=1&"+parameter.Name+"=1", parameter.Name)
				if parameter.Name != "after" {
					refused(parameter.Name+"=", parameter.Name)
				}
			}
			if operation.RequestBody == nil {
				response, text := s.do(method, address, "dryRun=true", "Content-Type: application/x-www-form-urlencoded")
				if response.StatusCode != 400 || method != "HEAD" && !strings.Contains(text, `"location":"body"`) {
					t.Errorf("%s %s with a body: got %s %s", method, path, response.Status, text)
				}
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d operations were tried", tried)
	}
	s.untouched(head)
}

// TestMistypedDryRun: what a sweep would remove is still there after each of these.
func TestMistypedDryRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	info, err := s.fixture.Store.Put(t.Context(), storage.Source{Reader: strings.NewReader("old"), Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	s.fixture.Age(t, info.Digests.SHA256, 48*time.Hour)
	sweeps := "/v1/backends/" + registrytest.First + "/sweeps"
	for _, query := range []string{"?dryrun=true", "?dry_run=true", "?DryRun=true", "?dryRun=true;", "?dryRun=true&dryRun=false", "?dryRun", "?dryRun=1"} {
		if response, text := s.do("POST", sweeps+query, ""); response.StatusCode != 400 {
			t.Errorf("%s: got %s %s", query, response.Status, text)
		}
	}
	for _, body := range []string{"dryRun=true", `{"dryRun":true}`} {
		if response, text := s.do("POST", sweeps, body); response.StatusCode != 400 {
			t.Errorf("%s as the body: got %s %s", body, response.Status, text)
		}
		chunked := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", sweeps, len(body), body)
		if response, p := s.raw(chunked, false); response.StatusCode != 400 {
			t.Errorf("%s as a chunked body: got %s %+v", body, response.Status, p)
		}
	}
	if _, err := s.fixture.Store.Head(t.Context(), info.Digests.SHA256); err != nil {
		t.Errorf("the orphan: %v, want it still there", err)
	}
	empty := "POST " + sweeps + "?dryRun=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, empty); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(connection); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("an empty chunked body: got %.200q, %v", answer, err)
	}
}

// TestHeaderFieldsAreGivenOnce: of two, a proxy may read another than the registry.
func TestHeaderFieldsAreGivenOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head := s.head()
	patch := []string{"Content-Type: application/partial-upload", "Upload-Offset: 0", "Upload-Complete: ?0"}
	for field, headers := range map[string][]string{
		"Content-Encoding": {"Content-Encoding: identity", "Content-Encoding: gzip"},
		"Upload-Offset":    append(patch[:3:3], "Upload-Offset: 3"),
		"Upload-Complete":  append(patch[:3:3], "Upload-Complete: ?1"),
		"Content-Type":     append(patch[:3:3], "Content-Type: application/partial-upload"),
	} {
		s.refused(400, field, "PATCH", s.file("a"), "a", headers...)
	}
	s.untouched(head)
}

// TestParametersThatAreTaken: the first page may be asked for by an empty
// cursor, and what the Go client sends is known.
func TestParametersThatAreTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	for _, address := range []string{"/v1/packages?after=&limit=10", "/v1/events?after=", "/v1/packages?producer=" + url.QueryEscape("ci"), "/v1/packages?"} {
		if response, text := s.do("GET", address, ""); response.StatusCode != 200 {
			t.Errorf("%s: got %s %s", address, response.Status, text)
		}
	}
	client := newClient(t, s.address)
	piece := registry.Piece{Content: registry.Content{Reader: strings.NewReader("x"), Size: 1, Executable: true}, Complete: true, Length: storage.UnknownSize}
	if _, err := client.AppendFile(context.Background(), s.session, "run", piece); err != nil {
		t.Errorf("an executable file in pieces: %v", err)
	}
}
