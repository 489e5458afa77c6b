package server_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

func field(name, text string) string {
	d := digest.Of([]byte(text))
	sum := d.SHA256.Bytes()
	if name == "blake3" {
		sum = d.BLAKE3.Bytes()
	}
	return name + "=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

func TestPutHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head := s.head()
	for _, c := range []struct {
		status        int
		field, header string
	}{
		{400, "Repr-Digest", "Repr-Digest: sha-256=:AAAA:"},
		{400, "Repr-Digest", "Repr-Digest: sha-256=" + strings.Repeat("0", 64)},
		{400, "Repr-Digest", "Repr-Digest: blake3"},
		{400, "Repr-Digest", "Repr-Digest: " + field("sha-256", "a") + ", " + field("sha-256", "b")},
		{400, "Repr-Digest", "Repr-Digest: " + field("sha-256", "b")}, // not the bytes
		{400, "Repr-Digest", "Repr-Digest: " + field("blake3", "b")},
		{400, "Repr-Digest", "Content-Digest: " + field("sha-256", "b")},
		{400, "Content-Digest", "Content-Digest: sha-256=:!:"},
		{415, "Content-Encoding", "Content-Encoding: gzip"},
		{400, "Content-Range", "Content-Range: bytes 0-0/2"},
	} {
		s.refused(c.status, c.field, "PUT", s.file("bad"), "a", c.header)
	}
	s.refused(400, "executable", "PUT", s.file("bad")+"?executable=yes", "a")
	s.refused(400, "Content-Digest", "PUT", s.file("bad"), "a", "Repr-Digest: "+field("sha-256", "a"), "Content-Digest: "+field("sha-256", "b"))
	if s.head() != head {
		t.Error("the log has grown")
	}
	for i, headers := range [][]string{
		{"Repr-Digest: " + field("sha-256", "a")}, {"Repr-Digest: " + field("blake3", "a")},
		{"Repr-Digest: md5=:nonsense, " + field("sha-256", "a") + " ;q=1, " + field("blake3", "a")},
		{"Content-Digest: " + field("sha-256", "a")}, {"Repr-Digest: sha-512=:AAAA:"}, {"Content-Encoding: identity"}, {"Content-Type: text/html"}, nil,
	} {
		response, text := s.do("PUT", s.file(fmt.Sprint("good", i)), "a", headers...)
		var got registry.UploadedFile
		if err := json.Unmarshal([]byte(text), &got); err != nil || response.StatusCode != 200 || got.Digests != digest.Of([]byte("a")) || got.Size != 1 {
			t.Errorf("%v: got %s %s", headers, response.Status, text)
		}
		if want := field("sha-256", "a") + ", " + field("blake3", "a"); response.Header.Get("Repr-Digest") != want {
			t.Errorf("Repr-Digest: got %s, want %s", response.Header.Get("Repr-Digest"), want)
		}
	}
}

func TestJSONBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head, declare, findings := s.head(), "/v1/uploads/"+s.session+"/files", "/v1/backends/"+registrytest.First+"/findings"
	sum := digest.Of(nil)
	for _, c := range []struct {
		status            int
		field, path, body string
	}{
		{400, "body", "/v1/uploads", ``},
		{400, "body", "/v1/uploads", `{`},
		{400, "body", "/v1/uploads", `[]`},
		{400, "body", "/v1/uploads", `null`},
		{400, "producer", "/v1/uploads", `{}`},
		{400, "producer", "/v1/uploads", `{"producer":1}`},
		{400, "color", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","color":"red"}`},
		{400, "annotations.x", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","annotations":{"x":1}}`},
		{400, "body", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","producer":"e"}`},
		{400, "body", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","pro\u0064ucer":"e"}`},
		{400, "body", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","annotations":{"x":"1","x":"2"}}`},
		{400, "PRODUCER", "/v1/uploads", `{"PRODUCER":"a","name":"b","version":"c","retentionClass":"d"}`},
		{400, "Producer", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","Producer":"e"}`},
		{400, "body", "/v1/uploads", "{\"producer\":\"a\",\"name\":\"b\",\"version\":\"c\",\"retentionClass\":\"d\",\"annotations\":{\"x\":\"\xff\"}}"},
		{400, "body", "/v1/routing/explain", `{"producer":"a","retentionClass":"b","producer":"c"}`},
		{400, "Verified", findings, `{"position":0,"Verified":[]}`},
		{400, "failed[0].SHA256", findings, `{"position":0,"failed":[{"SHA256":"` + sum.SHA256.String() + `","reason":"missing"}]}`},
		{400, "body", findings, `{"position":0,"failed":[{"sha256":"` + sum.SHA256.String() + `","reason":"missing","reason":"corrupt"}]}`},
		{413, "body", "/v1/uploads", `{"producer":"` + strings.Repeat("a", server.MaxJSONBody) + `"}`},
		{400, "producer", "/v1/routing/explain", `{}`},
		{400, "body", declare, ``},
		{400, "body", declare, `[]`},
		{400, "body", declare, `{}`},
		{400, "body", declare, `{"color":[]}`},
		{400, "files", declare, `{"files":{}}`},
		{400, "files", declare, `{"files":null}`},
		{400, "body", declare, `{"files":[],"color":1}`},
		{400, "body", declare, `{"files":[]}{}`},
		{400, "files[0]", declare, `{"files":[1]}`},
		{400, "body", declare, `{"FILES":[]}`},
		{400, "body", declare, `{"files":[],"files":[]}`},
		{400, "files[0].path", declare, `{"files":[{"path":"a","path":"b"}]}`},
		{400, "files[0].path", declare, `{"files":[{"path":"a","p\u0061th":"b"}]}`},
		{400, "files[0].PATH", declare, `{"files":[{"path":"a","PATH":"b"}]}`},
		{400, "files[0].Size", declare, `{"files":[{"path":"a","Size":1}]}`},
		{400, "files[0].digests", declare, `{"files":[{"path":"a","digests":{},"digests":{}}]}`},
		{400, "files[0].digests", declare, `{"files":[{"path":"a","digests":"sha256:00"}]}`},
		{400, "files[0].digests.sha256", declare, `{"files":[{"path":"a","digests":{"sha256":"` + sum.SHA256.String() + `","sha256":"` + sum.SHA256.String() + `"}}]}`},
		{400, "files[0].digests.SHA256", declare, `{"files":[{"path":"a","digests":{"SHA256":"` + sum.SHA256.String() + `"}}]}`},
		{400, "files[0].path", declare, `{"files":[null]}`},
		{400, "body", declare, `{"files":[{"path":"a\ud800"}]}`},
		{400, "body", declare, `{"files":[{"path":"\udc00a"}]}`},
		{400, "body", declare, `{"files":[{"path":"\ud800\ud800\udc00"}]}`},
		{400, "body", declare, `{"files":[{"path":"\ud800\n"}]}`},
		{400, "body", "/v1/uploads", `{"producer":"a","name":"b","version":"c","retentionClass":"d","annotations":{"x":"\ud800"}}`},
		{400, "files[0].size", declare, `{"files":[{"path":"a","size":"1"}]}`},
		{400, "files[0].size", declare, `{"files":[{"path":"a","size":1.5}]}`},
		{400, "files[1].color", declare, `{"files":[{"path":"a"},{"path":"b","color":1}]}`},
		{400, "files[0].digests.sha256", declare, `{"files":[{"path":"a","digests":{"sha256":"sha256:00"}}]}`},
		{400, "files[0].digests.sha256", declare, `{"files":[{"path":"a","digests":{"sha256":"` + sum.BLAKE3.String() + `"}}]}`},
		{400, "files[0].digests.blake3", declare, `{"files":[{"path":"a","digests":{"blake3":"` + strings.ToUpper(sum.BLAKE3.String()) + `"}}]}`},
		{400, "body", declare, "{\"files\":[{\"path\":\"a\xff\"}]}"},
		{400, "files[0].path", declare, `{"files":[{"path":"../a"}]}`},
	} {
		s.refused(c.status, c.field, "POST", c.path, c.body, "Content-Type: application/json")
	}
	for _, body := range []string{strings.Repeat("[", 500_000), "[" + strings.Repeat("{},", 5000) + "{}]"} {
		if response, text := s.do("POST", "/v1/uploads", body, "Content-Type: application/json"); response.StatusCode != 400 || !strings.Contains(text, "at most 4096 values, at most 16 deep") {
			t.Errorf("%.20s…: got %s %.200s", body, response.Status, text)
		}
	}
	for _, path := range []string{"/v1/uploads", declare} {
		s.refused(415, map[bool]string{true: "Content-Type", false: "body"}[path == declare], "POST", path, "a=b", "Content-Type: application/x-www-form-urlencoded")
	}
	s.refused(415, "Content-Type", "POST", "/v1/uploads/"+s.session+"/publish", "{}", "Content-Type: application/json")
	for _, query := range []string{"limit=-1", "limit=1001", "limit=x", "after=nonsense"} {
		name, _, _ := strings.Cut(query, "=")
		s.refused(400, name, "GET", "/v1/packages?"+query, "")
	}
	for _, query := range []string{"limit=-1", "limit=1001", "limit=x", "after=-1", "after=x", "after=99", "after=99999999999999999999"} {
		name, _, _ := strings.Cut(query, "=")
		s.refused(400, name, "GET", "/v1/events?"+query, "")
	}
	s.refused(400, "digest", "GET", "/v1/blobs/sha256:00", "")
	s.refused(400, "digest", "GET", "/v1/manifests/"+sum.BLAKE3.String(), "")
	s.untouched(head)
	if response, text := s.do("POST", declare, `{"files":[{"path":"\ud83d\ude00\u0041"}]}`, "Content-Type: application/json"); response.StatusCode != 200 || !strings.Contains(text, "\U0001f600A") {
		t.Errorf("a whole pair: got %s %s", response.Status, text)
	}
}

func TestDeclarationTooLarge(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	head := s.head()
	body := `{"files":[` + strings.Repeat(" ", server.MaxDeclareBody) + `]}`
	s.refused(413, "body", "POST", "/v1/uploads/"+s.session+"/files", body, "Content-Type: application/json")
	var many bytes.Buffer
	many.WriteString(`{"files":[{"path":"0"}`)
	for i := range registry.MaxFilesInOneUpload {
		fmt.Fprintf(&many, `,{"path":"%d"}`, i+1)
	}
	many.WriteString(`]}`)
	s.refused(400, "files", "POST", "/v1/uploads/"+s.session+"/files", many.String(), "Content-Type: application/json")
	s.untouched(head)
}

func TestCBORBothWays(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	sent, err := cbor.Marshal(map[string]any{"producer": "ci", "name": "tool", "version": "2", "retentionClass": "release", "annotations": map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	response, text := s.do("POST", "/v1/uploads", string(sent), "Content-Type: application/cbor", "Accept: application/cbor")
	var got map[string]any
	if err := cbor.Unmarshal([]byte(text), &got); err != nil || response.StatusCode != 201 || response.Header.Get("Content-Type") != "application/cbor" {
		t.Fatalf("got %s %q (%v)", response.Status, text, err)
	}
	if got["version"] != "2" || got["backend"] != "first" || response.Header.Get("Location") != "/v1/uploads/"+got["id"].(string) {
		t.Errorf("got %v at %s", got, response.Header.Get("Location"))
	}
	if _, isText := got["expires"].(string); !isText {
		t.Errorf("expires is a %T, want text", got["expires"])
	}
	s.refused(400, "tier", "POST", "/v1/uploads", string(mustCBOR(t, map[string]any{"producer": "a", "name": "b", "version": "c", "retentionClass": "d", "tier": "tepid"})), "Content-Type: application/cbor")
	s.refused(400, "body", "POST", "/v1/uploads", "\xff", "Content-Type: application/cbor")
	s.refused(400, "Producer", "POST", "/v1/uploads", string(mustCBOR(t, map[string]any{"producer": "a", "name": "b", "version": "c", "retentionClass": "d", "Producer": "e"})), "Content-Type: application/cbor")
	s.refused(400, "body", "POST", "/v1/uploads", "\xa2\x64name\x61a\x64name\x61b", "Content-Type: application/cbor") // one name twice
	s.publish("a")
	_, text = s.do("GET", "/v1/packages/ci/tool/1", "", "Accept: application/cbor")
	var found map[string]any
	if err := cbor.Unmarshal([]byte(text), &found); err != nil || !strings.HasPrefix(fmt.Sprint(found["manifestDigest"]), "sha256:") {
		t.Errorf("got %v (%v), want the digest as text", found, err)
	}
}

func mustCBOR(t *testing.T, value any) []byte {
	t.Helper()
	data, err := cbor.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	for _, path := range []string{"/", "/v1", "/v1/nothing", "/v1/packages/", "/v1/uploads/" + s.session + "/files/a/b", "/favicon.ico"} {
		if strings.Contains(path, "/files/") {
			continue
		}
		if response, text := s.do("GET", path, ""); response.StatusCode != 404 || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %s %s, want a 404 problem", path, response.Status, text)
		}
	}
	for _, c := range [][3]string{
		{"PUT", "/v1/packages", "GET, HEAD, POST"}, {"GET", "/v1/uploads", "POST"}, {"POST", s.file("a"), "HEAD, PUT, PATCH"},
		{"DELETE", "/v1/packages/a/b/c/files/d", "GET, HEAD"}, {"PUT", "/v1/uploads/" + s.session, "GET, HEAD, DELETE"}, {"BREW", "/livez", "GET, HEAD"},
	} {
		response, text := s.do(c[0], c[1], "")
		if response.StatusCode != 405 || response.Header.Get("Allow") != c[2] || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %s, Allow %q, %s", c[0], c[1], response.Status, response.Header.Get("Allow"), text)
		}
	}
	for _, path := range []string{"/v1/health", "/v1/nothing"} {
		response, _ := s.do("GET", path, "")
		for _, header := range []string{"X-Content-Type-Options: nosniff", "Cache-Control: no-store"} {
			if name, value, _ := strings.Cut(header, ": "); response.Header.Get(name) != value {
				t.Errorf("%s: %s is %q", path, name, response.Header.Get(name))
			}
		}
	}
}

// TestDigestsOfBodies: whatever the request, a body that is not what its
// Content-Digest says is refused, and one that is passes.
func TestDigestsOfBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	open := `{"producer":"a","name":"b","version":"c","retentionClass":"d"}`
	session := "/v1/uploads/" + s.session
	for _, c := range []struct {
		path, contentType, body string
		status                  int
	}{
		{"/v1/uploads", "application/json", open, 201},
		{"/v1/routing/explain", "application/json", `{"producer":"a","retentionClass":"b"}`, 200},
		{session + "/files", "application/json", `{"files":[]}`, 200},
		{session + "/files", "application/json", `{"files":[{"path":"x"}]}   `, 200},
		{session + "/bundle", "application/x-tar", archive(t, tar.Header{Name: "x"}), 200},
		{session + "/publish", "application/cbor", "x", 400}, // is no manifest of the session
	} {
		contentType := "Content-Type: " + c.contentType
		for _, wrong := range []string{"sha-256=:AAAA:", field("sha-256", "other"), field("blake3", "other"), field("sha-256", c.body) + ", " + field("blake3", "other")} {
			s.refused(400, "Content-Digest", "POST", c.path, c.body, contentType, "Content-Digest: "+wrong)
		}
		response, text := s.do("POST", c.path, c.body, contentType, "Content-Digest: "+field("sha-256", c.body)+", "+field("blake3", c.body), "Content-Digest: sha-512=:AAAA:")
		if response.StatusCode != c.status || strings.Contains(text, "Content-Digest") {
			t.Errorf("%s with its digests: got %s %s, want %d", c.path, response.Status, text, c.status)
		}
	}
}
