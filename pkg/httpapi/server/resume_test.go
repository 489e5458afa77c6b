package server_test

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// hanging sends the first bytes of a file in a PATCH that announces ten, and
// returns its connection when the server has read them.
func (s *site) hanging(path, bytes string, before int, headers ...string) net.Conn {
	s.t.Helper()
	connection := s.begin(path, 0, bytes, append(headers, "Upload-Complete: ?1", "Content-Length: 10")...)
	s.received(before + len(bytes))
	return connection
}

// begin sends the beginning of a PATCH.
func (s *site) begin(path string, offset int, body string, headers ...string) net.Conn {
	s.t.Helper()
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { connection.Close() })
	connection.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(connection, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\nUpload-Offset: %d\r\n%s\r\n\r\n%s", s.file(path), offset, strings.Join(headers, "\r\n"), body)
	return connection
}

// received waits until the server has read as many bytes of bodies.
func (s *site) received(total int) {
	s.t.Helper()
	want := fmt.Sprintf("artifactstore_http_received_bytes_total %d\n", total)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, text := s.do("GET", "/metrics", ""); strings.Contains(text, want) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the server does not read what was sent")
		}
	}
}

// TestHangingPatchEnds: whoever asks how much has arrived, or sends the rest,
// has given up the request that still hangs. It is ended, what it brought is
// kept, and the offset counts it.
func TestHangingPatchEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{StallTimeout: time.Minute})
	truncated := func(older net.Conn) {
		t.Helper()
		response, err := http.ReadResponse(bufio.NewReader(older), &http.Request{Method: "PATCH"})
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if p := readProblem(t, response); response.StatusCode != 400 || !strings.HasSuffix(p.Type, "/truncated") {
			t.Errorf("the older request: got %s %+v, want it truncated", response.Status, p)
		}
	}
	rest := func(path string) {
		t.Helper()
		response, text := s.do("PATCH", s.file(path), "4567890", "Content-Type: application/partial-upload", "Upload-Offset: 3", "Upload-Complete: ?1")
		if response.StatusCode != 200 || response.Header.Get("Upload-Offset") != "10" || response.Header.Get("Upload-Complete") != "?1" {
			t.Errorf("the rest of %s: got %s %v %s", path, response.Status, response.Header, text)
		}
	}
	asked := s.hanging("asked", "123", 0)
	if response, _ := s.do("HEAD", s.file("another"), ""); response.StatusCode != 404 { // ends nothing
		t.Errorf("another file: got %s", response.Status)
	}
	response, _ := s.do("HEAD", s.file("asked"), "")
	if response.StatusCode != 204 || response.Header.Get("Upload-Offset") != "3" || response.Header.Get("Upload-Complete") != "?0" {
		t.Errorf("got %s, offset %q, complete %q, want 3 bytes", response.Status, response.Header.Get("Upload-Offset"), response.Header.Get("Upload-Complete"))
	}
	truncated(asked)
	rest("asked")

	resumed := s.hanging("resumed", "123", 10)
	rest("resumed")
	truncated(resumed)
	if _, err := s.fixture.Registry.Publish(t.Context(), s.session, nil); err != nil {
		t.Error(err)
	}
}

// TestAbandonedPatchEnds: a request that hangs does not outlive its session.
func TestAbandonedPatchEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{StallTimeout: time.Minute})
	hanging := s.hanging("a", "123", 0)
	if response, text := s.do("DELETE", "/v1/uploads/"+s.session, ""); response.StatusCode != 204 {
		t.Fatalf("got %s %s", response.Status, text)
	}
	hanging.SetReadDeadline(time.Now().Add(10 * time.Second))
	if response, err := http.ReadResponse(bufio.NewReader(hanging), &http.Request{Method: "PATCH"}); err != nil || response.StatusCode < 400 {
		t.Errorf("the request that hangs: %v, %v", response, err)
	}
}

// TestPiecesAreSentByPatch: a body that says that it is a piece of a file must
// not become the whole file.
func TestPiecesAreSentByPatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head, bundle, piece := s.head(), "/v1/uploads/"+s.session+"/bundle", strings.Repeat("x", 20)
	for _, headers := range [][]string{
		{"Upload-Offset: 500"}, {"Upload-Offset: 0"}, {"Upload-Offset: "}, {"Upload-Complete: ?0"}, {"Upload-Complete: ?0", "Upload-Length: 1000"}, {"Upload-Complete: no"},
		{"Upload-Length: 1000"}, {"Upload-Length: 1000", "Upload-Complete: ?1"}, {"Upload-Length: -1"}, {"Upload-Length: "},
	} {
		field, _, _ := strings.Cut(headers[0], ":")
		s.refused(400, field, "PUT", s.file("big.bin"), piece, headers...)
		s.refused(400, field, "POST", bundle, archive(t, tar.Header{Name: "a"}), append([]string{"Content-Type: application/x-tar"}, headers...)...)
	}
	chunked := "PUT %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nUpload-Length: %d\r\n\r\n1\r\na\r\n0\r\n\r\n"
	if response, p := s.raw(fmt.Sprintf(chunked, s.file("b"), 1000), false); response.StatusCode != 400 || len(p.Errors) != 1 || p.Errors[0].Location != "Upload-Length" {
		t.Errorf("chunked: got %s %+v", response.Status, p)
	}
	s.untouched(head)
	if response, text := s.do("PUT", s.file("whole"), piece, "Upload-Complete: ?1", "Upload-Length: 20"); response.StatusCode != 200 {
		t.Errorf("a whole file: got %s %s", response.Status, text)
	}
}

// offset is what HEAD says has arrived of a file.
func (s *site) offset(path string, headers ...string) string {
	s.t.Helper()
	response, _ := s.do("HEAD", s.file(path), "", headers...)
	if response.StatusCode != 204 {
		s.t.Errorf("HEAD of %s: got %s", path, response.Status)
	}
	return response.Header.Get("Upload-Offset")
}

// pair knows two tokens; the holder of the first may do everything, of the second nothing.
type pair struct{}

func (pair) Authenticate(_ context.Context, token storage.Secret) (access.Identity, error) {
	return access.Identity{Name: token.Reveal()}, nil
}

func (pair) Authorize(_ context.Context, who access.Identity, what access.Action) error {
	if who.Name != "owner" {
		return &access.ForbiddenError{Who: who.Name, What: what}
	}
	return nil
}

// TestStrangersEndNoPatch: a request that may not see the session neither ends
// what hangs there nor makes the server forget it.
func TestStrangersEndNoPatch(t *testing.T) {
	t.Parallel()
	const owner, stranger = "Authorization: Bearer owner", "Authorization: Bearer stranger"
	s := newSite(t, server.Options{})
	guard := access.Guard(s.fixture.Registry, pair{}, s.fixture.Registry.(access.Index))
	s.address = serve(t, server.NewHandler(guard, server.Options{Logger: quiet(), Authenticator: pair{}}))
	hanging := s.hanging("a", "123", 0, owner)
	for _, method := range []string{"PATCH", "HEAD"} {
		response, text := s.do(method, s.file("a"), "x", stranger, "Content-Type: application/partial-upload", "Upload-Offset: 0", "Upload-Complete: ?1")
		if method == "HEAD" {
			response, text = s.do(method, s.file("a"), "", stranger)
		}
		if response.StatusCode != 404 {
			t.Errorf("a stranger's %s: got %s %s", method, response.Status, text)
		}
	}
	if response, text := s.do("POST", "/v1/uploads/"+s.session+"/publish", "", stranger); response.StatusCode != 404 {
		t.Errorf("a stranger's publish: got %s %s", response.Status, text)
	}
	hanging.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := hanging.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stranger ended the owner's request: %d bytes, %v", n, err)
	}
	if got := s.offset("a", owner); got != "3" {
		t.Errorf("the owner is told offset %s, want 3", got)
	}
}

// TestPatchesAtOnce: two requests that end the same older one do not make the
// server forget each other. HEAD ends both.
func TestPatchesAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{StallTimeout: time.Minute})
	const files = 8
	path := func(i int) string { return fmt.Sprint("file", i) }
	for i := range files {
		s.hanging(path(i), "123", i*3)
	}
	answered := make(chan error)
	begun := 0
	for i := range files {
		for range 3 {
			begun++
			one := s.begin(path(i), 3, "45", "Upload-Complete: ?1", "Content-Length: 7")
			go func() {
				response, err := http.ReadResponse(bufio.NewReader(one), &http.Request{Method: "PATCH"})
				if err == nil {
					response.Body.Close()
				}
				answered <- err
			}()
		}
	}
	for deadline := time.Now().Add(20 * time.Second); begun > 0; {
		for i := range files {
			if got := s.offset(path(i)); got != "3" && got != "5" {
				t.Errorf("%s: offset %s, want the 3 bytes of the first request, or 5 with what another brought in time", path(i), got)
			}
		}
		select {
		case err := <-answered:
			if begun--; err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests hang, and no HEAD ends them", begun)
		}
	}
}

// TestPublishCountsWhatArrived: the answer knows of the bytes of a request that
// is still open.
func TestPublishCountsWhatArrived(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{StallTimeout: time.Minute})
	s.begin("a", 0, "3e8\r\n"+strings.Repeat("x", 1000)+"\r\n", "Upload-Complete: ?1", "Upload-Length: 1000", "Transfer-Encoding: chunked")
	s.received(1000)
	response, text := s.do("POST", "/v1/uploads/"+s.session+"/publish", "")
	var p wire.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || response.StatusCode != 409 || p.Incomplete == nil || len(p.Incomplete.Partial) != 1 || p.Incomplete.Partial[0].Offset != 1000 {
		t.Errorf("got %s %s, want 409 with the 1000 bytes that arrived", response.Status, text)
	}
}
