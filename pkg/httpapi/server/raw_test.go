package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

// site is a server with an open session.
type site struct {
	t       *testing.T
	fixture registrytest.Fixture
	address string
	session string
}

func newSite(t *testing.T, opts server.Options) *site {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	fixture := registrytest.OpenService(t, "")
	upload, err := fixture.Registry.OpenUpload(context.Background(), registry.OpenUpload{
		PackageRef: registry.PackageRef{Producer: "ci", Name: "tool", Version: "1"}, RetentionClass: "release"})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, fixture, serve(t, server.NewHandler(fixture.Registry, opts)), upload.ID}
}

// raw sends bytes as they are, closes the sending half if told to, and reads one answer.
func (s *site) raw(request string, closeHalf bool) (*http.Response, wire.Problem) {
	s.t.Helper()
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(connection, request); err != nil {
		s.t.Fatal(err)
	}
	if closeHalf {
		connection.(*net.TCPConn).CloseWrite()
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("%.60q: %v", request, err)
	}
	defer response.Body.Close()
	return response, readProblem(s.t, response)
}

func readProblem(t *testing.T, response *http.Response) (p wire.Problem) {
	t.Helper()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if p.Status != response.StatusCode || p.Title == "" || p.RequestID == "" || p.RequestID != response.Header.Get("X-Request-Id") {
			t.Fatalf("%s is not the problem of a %d", data, response.StatusCode)
		}
	}
	return p
}

// do sends a request by net/http, with headers as "name: value" lines.
func (s *site) do(method, path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	request, err := http.NewRequest(method, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Add(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(request) // no redirects are followed
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response, string(data)
}

// refused sends a request that must be answered by status with a problem that names field.
func (s *site) refused(status int, field, method, path, body string, headers ...string) {
	s.t.Helper()
	response, text := s.do(method, path, body, headers...)
	var p wire.Problem
	json.Unmarshal([]byte(text), &p)
	if response.StatusCode != status || response.Header.Get("Content-Type") != "application/problem+json" || len(p.Errors) == 0 || p.Errors[0].Location != field {
		s.t.Errorf("%s %s %.80q %v: got %d %s, want a %d problem on %s", method, path, body, headers, response.StatusCode, text, status, field)
	}
}

func (s *site) head() uint64 {
	s.t.Helper()
	head, err := s.fixture.Registry.LogHead(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return head.Position
}

// untouched fails if the session has a file, or the log an event since head.
func (s *site) untouched(head uint64) {
	s.t.Helper()
	upload, err := s.fixture.Registry.GetUpload(context.Background(), s.session)
	if err != nil || upload.Files != 0 || s.head() != head {
		s.t.Errorf("the session has %d files, the log %d events more (%v)", upload.Files, s.head()-head, err)
	}
}

func (s *site) file(path string) string { return "/v1/uploads/" + s.session + "/files/" + path }

func TestPathsReachValidationAsTheyWereSent(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head := s.head()
	for _, path := range []string{
		"", "/", "../a", "a/../b", "..", "a/..", ".", "./a", "/a", "//a", "a//b", "a/", "%2e%2e/a", "%2E%2e%2Fa", "a/%2e%2e/b", "..%2f..%2fa", "a%2Fb", "%2fa",
		"a%5Cb", `a\b`, "..%5ca", "%00", "a%00b", "a%0ab", "a%7f", "a%ff", strings.Repeat("a", 256), strings.Repeat("a/", 600) + "a", "%252e%252e/..",
	} {
		request := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\na", s.file(path))
		response, p := s.raw(request, false)
		if response.StatusCode != 400 || response.Header.Get("Location") != "" || len(p.Errors) != 1 || p.Errors[0].Location != "path" || p.Errors[0].Message == "" {
			t.Errorf("%.80q: got %s %+v, want a 400 problem on path", path, response.Status, p)
		}
		response, p = s.raw(fmt.Sprintf("GET /v1/packages/ci/tool/1/files/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path), false)
		if response.StatusCode != 400 || len(p.Errors) != 1 || p.Errors[0].Location != "path" {
			t.Errorf("reading %.80q: got %s %+v, want a 400 problem on path", path, response.Status, p)
		}
	}
	for _, address := range []string{"/v1/packages/../uploads", "/v1//packages", "//v1/packages", "/v1/./packages", "/v1/uploads/../../etc/passwd", "/v1/uploads/../files/a", "/v1/uploads//files/a"} {
		response, p := s.raw("PUT "+address+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false)
		if response.StatusCode != 400 || response.Header.Get("Location") != "" || len(p.Errors) != 1 || p.Errors[0].Location != "path" {
			t.Errorf("%q: got %s %+v, want a 400 problem on path", address, response.Status, p)
		}
	}
	s.untouched(head)
}

func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head := s.head()
	for name, request := range map[string]string{
		"length":           "PUT " + s.file("a") + " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123",
		"length, no bytes": "PUT " + s.file("b") + " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"chunk":            "PUT " + s.file("c") + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\na\r\n123",
		"no last chunk":    "PUT " + s.file("d") + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n",
		"bad chunk":        "PUT " + s.file("e") + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n123",
	} {
		response, p := s.raw(request, true)
		if response.StatusCode != 400 || len(p.Errors) != 1 || p.Errors[0].Location != "body" {
			t.Errorf("%s: got %s %+v, want a 400 problem on body", name, response.Status, p)
		}
	}
	if s.head() != head {
		t.Error("the log has grown")
	}
	_, err := s.fixture.Registry.Publish(context.Background(), s.session, nil)
	if err == nil {
		t.Error("a session of broken files was published")
	}
	for _, cut := range []string{`{"files":[{"path":"a"},`, `{"files":[{"path":"a"}]`} {
		response, p := s.raw(fmt.Sprintf("POST /v1/uploads/%s/files HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n%s", s.session, cut), true)
		if response.StatusCode != 400 || len(p.Errors) != 1 || p.Errors[0].Location != "body" {
			t.Errorf("%s: got %s %+v, want a 400 problem on body", cut, response.Status, p)
		}
	}
}

func TestStalledBodyEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{StallTimeout: 200 * time.Millisecond})
	response, p := s.raw("PUT "+s.file("a")+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123", false)
	if response.StatusCode != 408 || len(p.Errors) != 1 || p.Errors[0].Location != "body" {
		t.Errorf("got %s %+v, want a 408 problem on body", response.Status, p)
	}
}

func TestStalledReaderEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{StallTimeout: 300 * time.Millisecond})
	name := s.publish(strings.Repeat("x", 48<<20)) // more than sockets buffer
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "GET /v1/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n", name)
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, text := s.do("GET", "/metrics", "")
		if strings.Contains(text, "artifactstore_http_in_flight_requests 1") && strings.Contains(text, `route="GET /v1/blobs/{digest}"`) {
			return // this one is the only request left: the other was ended
		}
		if time.Now().After(deadline) {
			t.Fatal("an answer that nobody reads is still being sent")
		}
	}
}

// publish stores text as a file of the session, publishes it, and returns the digest's text.
func (s *site) publish(text string) string {
	s.t.Helper()
	ctx := context.Background()
	file, err := s.fixture.Registry.PutFile(ctx, s.session, "a", registry.Content{Reader: strings.NewReader(text), Size: int64(len(text))})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.fixture.Registry.Publish(ctx, s.session, nil); err != nil {
		s.t.Fatal(err)
	}
	return file.Digests.SHA256.String()
}
