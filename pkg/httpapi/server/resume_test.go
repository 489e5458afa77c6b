package server_test

import (
	"archive/tar"
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
)

// hanging sends the first bytes of a file in a PATCH that announces ten, and
// returns its connection when the server has read them.
func (s *site) hanging(path, bytes string, before int) net.Conn {
	s.t.Helper()
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { connection.Close() })
	connection.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(connection, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\nUpload-Offset: 0\r\nUpload-Complete: ?1\r\nContent-Length: 10\r\n\r\n%s", s.file(path), bytes)
	want := fmt.Sprintf("artifactstore_http_received_bytes_total %d\n", before+len(bytes))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, text := s.do("GET", "/metrics", ""); strings.Contains(text, want) {
			return connection
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
