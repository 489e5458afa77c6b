package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// lifetime of upload sessions in this test: the shortest that the manager takes.
const lifetime = time.Minute

// request is one as it goes over the wire, with nothing cleaned by a client library.
type request struct {
	method, target string
	header         []string
	body           []byte
	// length is what Content-Length claims; 0 claims what body has.
	length int
	chunks string // sent as it is with Transfer-Encoding: chunked, in place of body
	cut    bool   // ends the sending half of the connection after this
}

// refused is how a request must be answered.
type refused struct {
	status int
	field  string // the first location, or a part of it that does not depend on the place
}

// site is a manager with one local backend.
type site struct {
	*world
	client *client.Client
}

func newSite(t *testing.T, database string) *site {
	t.Helper()
	root := t.TempDir()
	c := newFiles(t)
	w := &world{control: c, places: map[string]place{"local": newFolder(t, root, "local")}, database: database, dataDir: t.TempDir(), localRoot: root}
	backend(t, c, "local", w.places["local"].spec(t, c))
	w.manager = programs.StartManager(t,
		[]string{"--config-dir", c.config, "--data-dir", w.dataDir, "--local-root", root, "--upload-lifetime", lifetime.String()},
		[]string{"ARTIFACTSTORE_DATABASE=" + w.database})
	w.cli = programs.CLI{Server: w.manager.URL}
	w.waitReady(t, "local")
	return &site{w, w.manager.Client(t)}
}

func (s *site) open(t *testing.T, name, version string) registry.Upload {
	t.Helper()
	upload, err := s.client.OpenUpload(background, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: name, Version: version}, RetentionClass: "r"})
	if err != nil {
		t.Fatal(err)
	}
	return upload
}

func (s *site) put(t *testing.T, id, path string, content []byte) {
	t.Helper()
	_, err := s.client.PutFile(background, id, path, registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content)), Digests: digest.Of(content)})
	if err != nil {
		t.Fatal(err)
	}
}

// send writes the request byte for byte and reads the answer.
func (s *site) send(t *testing.T, r request) (int, http.Header, []byte) {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(s.manager.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // the answer is read by then
	if err := connection.SetDeadline(time.Now().Add(programs.Patience)); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", r.method, r.target)
	for _, line := range r.header {
		fmt.Fprintf(&text, "%s\r\n", line)
	}
	switch {
	case r.chunks != "":
		fmt.Fprintf(&text, "Transfer-Encoding: chunked\r\n\r\n%s", r.chunks)
	default:
		fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n%s", max(r.length, len(r.body)), r.body)
	}
	if _, err := connection.Write(text.Bytes()); err != nil {
		t.Fatal(err)
	}
	if r.cut {
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: r.method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer answer.Body.Close() //nolint:errcheck // ReadAll tells
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, body
}

// refuse sends what must be refused and looks for what it may have changed or given away.
func (s *site) refuse(t *testing.T, r request, want refused) {
	t.Helper()
	before, err := s.client.LogHead(background)
	if err != nil {
		t.Fatal(err)
	}
	status, header, body := s.send(t, r)
	if status != want.status || !strings.HasPrefix(header.Get("Content-Type"), "application/problem+json") {
		t.Errorf("answered %d, %s, want %d: %s", status, header.Get("Content-Type"), want.status, body)
		return
	}
	problem := decodeJSON[wire.Problem](t, body)
	if want.field != "" && (len(problem.Errors) == 0 || !strings.Contains(problem.Errors[0].Location, want.field) || problem.Errors[0].Message == "") {
		t.Errorf("the answer does not name the field %s: %s", want.field, body)
	}
	for _, path := range []string{s.dataDir, s.localRoot, filepath.Dir(s.dataDir), "goroutine ", ".go:"} {
		if strings.Contains(string(body), path) {
			t.Errorf("the answer tells %q: %s", path, body)
		}
	}
	if after, err := s.client.LogHead(background); err != nil || after != before {
		t.Errorf("the log went from %+v to %+v (%v)", before, after, err)
	}
}

func declare(id string, files ...string) request {
	return request{method: "POST", target: "/v1/uploads/" + id + "/files", header: []string{"Content-Type: application/json"},
		body: []byte(`{"files":[` + strings.Join(files, ",") + `]}`)}
}

// pathJSON is a declaration of a file of no known content.
func pathJSON(path string) string {
	text, err := json.Marshal(map[string]any{"path": path})
	if err != nil {
		panic(err) // a string always has an encoding
	}
	return string(text)
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); badInput(t, newSite(t, sqlite(t))) })
	t.Run("postgresql", func(t *testing.T) { t.Parallel(); badInput(t, newSite(t, servers.Postgres(t))) })
}

func badInput(t *testing.T, s *site) {
	expiring := s.open(t, "expiring", "1")
	expires := time.Now().Add(lifetime)

	content := []byte("some content")
	published := s.open(t, "published", "1")
	s.put(t, published.ID, "a/b", content)
	publication, err := s.client.Publish(background, published.ID, nil)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("paths", func(t *testing.T) { badPaths(t, s) })
	t.Run("names", func(t *testing.T) { badNames(t, s) })
	t.Run("bodies", func(t *testing.T) { badBodies(t, s) })
	t.Run("publishing", func(t *testing.T) { badPublish(t, s, published.ID, publication) })
	t.Run("reading", func(t *testing.T) { badReads(t, s, digest.Of(content), publication) })
	for name := range s.places["local"].sizes(t) {
		if strings.HasPrefix(name, storage.StagingPrefix) {
			t.Errorf("%s is left in the backend", name)
		}
	}
	t.Run("expired", func(t *testing.T) {
		// It cannot be hurried: the time is the manager's.
		programs.EventuallyWithin(t, time.Until(expires)+programs.Patience, func() error {
			status, _, body := s.send(t, request{method: "GET", target: "/v1/uploads/" + expiring.ID})
			if status != http.StatusGone {
				return fmt.Errorf("the session is still answered by %d: %s", status, body)
			}
			return nil
		})
		if early := time.Until(expires); early > 5*time.Second {
			t.Errorf("the session expired %s early", early)
		}
		for _, r := range []request{
			declare(expiring.ID, pathJSON("a")),
			{method: "PUT", target: "/v1/uploads/" + expiring.ID + "/files/a", body: content},
			{method: "POST", target: "/v1/uploads/" + expiring.ID + "/publish"},
		} {
			s.refuse(t, r, refused{status: http.StatusGone})
		}
	})
	s.checkViews(t)
}

func badPaths(t *testing.T, s *site) {
	long := strings.Repeat("x/", manifest.MaxPathLength/2) + "x"
	for name, path := range map[string]struct{ declared, escaped string }{
		"steps up":             {"../etc/passwd", "%2E%2E/etc/passwd"},
		"steps up unescaped":   {"..", "../etc/passwd"},
		"steps up inside":      {"a/../../b", "a/%2E%2E/%2E%2E/b"},
		"a dot":                {"a/./b", "a/./b"},
		"absolute":             {"/etc/passwd", "/etc/passwd"},
		"backslash":            {`a\b`, "a%5Cb"},
		"NUL":                  {"a\x00b", "a%00b"},
		"newline":              {"a\nb", "a%0Ab"},
		"empty":                {"", ""},
		"empty segment":        {"a//b", "a//b"},
		"ends in a slash":      {"a/", "a/"},
		"too long":             {long, long},
		"too long a segment":   {strings.Repeat("x", manifest.MaxSegmentLength+1), strings.Repeat("x", manifest.MaxSegmentLength+1)},
		"a slash in an escape": {"a/../b", "a%2Fb"},
	} {
		t.Run(name, func(t *testing.T) {
			upload := s.open(t, "paths", "1")
			s.refuse(t, declare(upload.ID, pathJSON("good"), pathJSON(path.declared)), refused{http.StatusBadRequest, "files[1].path"})
			s.refuse(t, request{method: "PUT", target: "/v1/uploads/" + upload.ID + "/files/" + path.escaped, body: []byte("x")}, refused{http.StatusBadRequest, "path"})
			s.unchanged(t, upload.ID)
		})
	}
	t.Run("not UTF-8", func(t *testing.T) {
		upload := s.open(t, "paths", "1")
		s.refuse(t, declare(upload.ID, "{\"path\":\"a\xff\"}"), refused{http.StatusBadRequest, "body"}) // JSON is UTF-8, or is none
		s.refuse(t, request{method: "PUT", target: "/v1/uploads/" + upload.ID + "/files/a%FF", body: []byte("x")}, refused{http.StatusBadRequest, "path"})
		s.unchanged(t, upload.ID)
	})
	t.Run("twice", func(t *testing.T) {
		upload := s.open(t, "paths", "1")
		s.refuse(t, declare(upload.ID, `{"path":"a","size":1}`, `{"path":"a","size":2}`), refused{http.StatusBadRequest, "files[1]"})
		s.refuse(t, declare(upload.ID, pathJSON("caf\u00e9"), pathJSON("cafe\u0301")), refused{http.StatusBadRequest, "files[1].path"})
		s.unchanged(t, upload.ID)
		// Case alone may differ.
		if status, _, body := s.send(t, declare(upload.ID, pathJSON("README"), pathJSON("readme"))); status != http.StatusOK {
			t.Errorf("paths that differ in case are answered by %d: %s", status, body)
		}
	})
}

// unchanged wants a session in which nothing was declared.
func (s *site) unchanged(t *testing.T, id string) {
	t.Helper()
	if upload, err := s.client.GetUpload(background, id); err != nil || upload.Files != 0 || upload.State != registry.UploadOpen {
		t.Errorf("what was refused left its mark on the session: %+v, %v", upload, err)
	}
}

func badNames(t *testing.T, s *site) {
	good := map[string]string{"producer": "p", "name": "n", "version": "1", "retentionClass": "r"}
	for field := range good {
		for _, value := range []string{"", "..", "a..b", "../x", "a/b", "a b", "a\\b", "a\x00b", "ä", "-a", ".a", strings.Repeat("x", registry.MaxFieldLength+1), "<script>", "a%2Fb", "a\n"} {
			if field == "name" && value == "a/b" { // it has two components
				continue
			}
			body := map[string]string{}
			for name, word := range good {
				body[name] = word
			}
			body[field] = value
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(fmt.Sprintf("%s %q", field, value), func(t *testing.T) {
				s.refuse(t, request{method: "POST", target: "/v1/uploads", header: []string{"Content-Type: application/json"}, body: text}, refused{http.StatusBadRequest, field})
			})
		}
	}
}

func badBodies(t *testing.T, s *site) {
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	right := digest.Of(content)
	wrong := digest.Of([]byte("other content"))
	field := func(d digest.Digest) string {
		return "Repr-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(d.Bytes()) + ":"
	}
	for name, test := range map[string]struct {
		request request // without address
		refused
	}{
		"another digest":         {request{header: []string{field(wrong.SHA256)}, body: content}, refused{http.StatusBadRequest, "Repr-Digest"}},
		"digest of no length":    {request{header: []string{"Repr-Digest: sha-256=:AAAA:"}, body: content}, refused{http.StatusBadRequest, "Repr-Digest"}},
		"truncated":              {request{header: []string{field(right.SHA256)}, body: content[:200_000], length: len(content), cut: true}, refused{http.StatusBadRequest, "body"}},
		"truncated, no digest":   {request{body: content[:200_000], length: len(content), cut: true}, refused{http.StatusBadRequest, "body"}},
		"truncated chunk":        {request{chunks: "40000\r\n" + string(content[:100_000]), cut: true}, refused{http.StatusBadRequest, "body"}},
		"no last chunk":          {request{chunks: fmt.Sprintf("%x\r\n%s\r\n", len(content), content), cut: true}, refused{http.StatusBadRequest, "body"}},
		"a content coding":       {request{header: []string{"Content-Encoding: gzip"}, body: content}, refused{http.StatusUnsupportedMediaType, "Content-Encoding"}},
		"executable as a number": {request{body: content}, refused{http.StatusBadRequest, "executable"}},
	} {
		t.Run(name, func(t *testing.T) {
			upload := s.open(t, "bodies", "1")
			r := test.request
			r.method, r.target = "PUT", "/v1/uploads/"+upload.ID+"/files/file"
			if test.field == "executable" {
				r.target += "?executable=7"
			}
			s.refuse(t, r, test.refused)
			// Neither the wrong bytes nor a package without them can be published.
			want := refused{http.StatusBadRequest, "files"}
			if now, err := s.client.GetUpload(background, upload.ID); err != nil || now.Files != now.Missing {
				t.Errorf("the session has bytes: %+v, %v", now, err)
			} else if now.Files > 0 { // a body that was begun has declared its path
				want.status = http.StatusConflict
			}
			s.refuse(t, request{method: "POST", target: "/v1/uploads/" + upload.ID + "/publish"}, want)
		})
	}
	t.Run("other bytes than declared", func(t *testing.T) {
		upload := s.open(t, "bodies", "1")
		size := int64(len(content))
		if _, err := s.client.DeclareFiles(background, upload.ID, []registry.FileDeclaration{{Path: "file", Size: &size, Digests: wrong}}); err != nil {
			t.Fatal(err)
		}
		s.refuse(t, request{method: "PUT", target: "/v1/uploads/" + upload.ID + "/files/file", body: content}, refused{http.StatusBadRequest, "Repr-Digest"})
		s.refuse(t, request{method: "PUT", target: "/v1/uploads/" + upload.ID + "/files/file", body: content[:10]}, refused{http.StatusBadRequest, "size"})
		s.refuse(t, request{method: "POST", target: "/v1/uploads/" + upload.ID + "/publish"}, refused{http.StatusConflict, "files"})
	})
	for name, body := range map[string]string{"no JSON": "{", "a list": "[]", "two values": "{}{}", "an unknown field": `{"producer":"p","name":"n","version":"1","retentionClass":"r","color":"red"}`} {
		t.Run(name, func(t *testing.T) {
			s.refuse(t, request{method: "POST", target: "/v1/uploads", header: []string{"Content-Type: application/json"}, body: []byte(body)}, refused{status: http.StatusBadRequest})
		})
	}
}
