package server_test

import (
	"archive/tar"
	"fmt"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

const isForm = "Content-Type: multipart/form-data; boundary=b"

// formOf is a body of POST /v1/packages; what follows files comes before the last line.
func formOf(described, files string, more ...string) string {
	return part("package", described) + part("files", files) + strings.Join(more, "") + "--b--\r\n"
}

func TestPackageForms(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	const path = "/v1/packages"
	described := func(version int, more string) string {
		return fmt.Sprintf(`{"producer":"p","name":"n","version":"%d","retentionClass":"r"%s}`, version, more)
	}
	file := archive(t, tar.Header{Name: "a"})
	head := s.head()
	for _, c := range []struct{ field, body string }{
		{"package", "--b--\r\n"},
		{"files", "--b\r\nContent-Disposition: form-data; name=\"package\"\r\n\r\n" + described(1, "") + "\r\n--b--\r\n"},
		{"package", "--b\r\nContent-Disposition: form-data; name=\"files\"\r\n\r\n" + file + "\r\n--b--\r\n"},
		{"body", formOf(described(1, ""), file)[:100]},
		{"body", strings.TrimSuffix(formOf(described(1, ""), file), "--b--\r\n")},
		{"body", formOf(described(1, ""), file, "--b\r\nContent-Disposition: form-data; name=\"more\"\r\n\r\nx\r\n")},
		{"body", formOf(described(1, ""), file[:600])},
		{"body", formOf(described(1, ""), "no archive")},
		{"path", formOf(described(1, ""), archive(t, tar.Header{Name: "../a"}))},
		{"package", formOf("text", file)},
		{"package", formOf(described(1, "")+described(2, ""), file)},
		{"package", formOf(described(1, "")+" more", file)},
		{"package", formOf(described(1, `,"version":"2"`), file)},
		{"package", formOf(described(1, `,"mediaType":"`+strings.Repeat("x", 25<<10)+`"`), file)},
		{"color", formOf(described(1, `,"color":"red"`), file)},
		{"producer", formOf(`{"name":"n","version":"1","retentionClass":"r"}`, file)},
		{"name", formOf(`{"producer":"p","name":7,"version":"1","retentionClass":"r"}`, file)},
		{"manifestDigest", formOf(described(1, `,"manifestDigest":"sha256:0"`), file)},
		{"manifestDigest", formOf(described(1, `,"manifestDigest":"sha256:`+strings.Repeat("0", 64)+`"`), file)},
		{"manifestSize", formOf(described(1, `,"manifestSize":0`), file)},
		{"manifestSize", formOf(described(1, `,"manifestSize":2097153`), file)},
		{"manifestSize", formOf(described(1, `,"manifestSize":"1"`), file)},
		{"manifest", formOf(described(1, `,"manifestSize":4`), file)},
		{"manifest", formOf(described(1, `,"manifestSize":4`), file, part("manifest", "text"))},
		{"manifest", formWith(described(1, `,"manifestSize":4`), "text", file)},
		{"manifestSize", formWith(described(1, `,"manifestSize":5`), "text", file)},
		{"manifestSize", formWith(described(1, `,"manifestSize":3`), "text", file)},
		{"files", formWith(described(1, ""), "text", file)},
	} {
		s.refused(400, c.field, "POST", path, c.body, isForm)
	}
	s.refused(415, "Content-Type", "POST", path, formOf(described(1, ""), file))
	s.refused(415, "Content-Encoding", "POST", path, formOf(described(1, ""), file), isForm, "Content-Encoding: gzip")
	s.refused(400, "Content-Digest", "POST", path, formOf(described(1, ""), file), isForm, "Content-Digest: "+field("sha-256", "other"))
	if s.head() != head {
		t.Error("the log has grown")
	}
	encoded := encodedOf(t, 3, "a")
	s.refused(400, "files", "POST", path, formWith(described(3, fmt.Sprintf(`,"manifestSize":%d`, len(encoded))), encoded, archive(t, tar.Header{Name: "b"})), isForm)
	if answer, text := s.do("POST", path, formWith(described(3, fmt.Sprintf(`,"manifestSize":%d`, len(encoded))), encoded, archive(t)), isForm); answer.StatusCode != 409 || !strings.Contains(text, `"paths":["a"]`) {
		t.Errorf("a manifest whose file is missing: %s, %s", answer.Status, text)
	}
	for version, files := range map[int]string{
		1: file,
		2: file + strings.Repeat("\x00", 100<<10), // as tar -b 400
	} {
		if answer, text := s.do("POST", path, formOf(described(version, ""), files), isForm); answer.StatusCode != 201 || answer.Header.Get("Location") != fmt.Sprint("/v1/packages/p/n/", version) {
			t.Errorf("version %d: %s, %s", version, answer.Status, text)
		}
	}
}

// formWith is formOf with a manifest before the files.
func formWith(described, encoded, files string) string {
	return part("package", described) + part("manifest", encoded) + part("files", files) + "--b--\r\n"
}

func part(name, content string) string {
	return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + content + "\r\n"
}

// encodedOf is the manifest of p/n with one file.
func encodedOf(t *testing.T, version int, path string) string {
	t.Helper()
	encoded, err := manifest.Encode(&manifest.Manifest{
		Producer: "p", Name: "n", Version: fmt.Sprint(version),
		Files: []manifest.File{{Path: path, Size: 3, Digests: digest.Of([]byte("new"))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
