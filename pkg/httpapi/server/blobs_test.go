package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func TestRanges(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	const text = "0123456789"
	name := s.publish(text)
	tag := `"` + name + `"`
	for _, c := range []struct {
		rangeHeader, ifRange string
		status               int
		body, contentRange   string
	}{
		{"", "", 200, text, ""},
		{"bytes=0-", "", 206, text, "bytes 0-9/10"},
		{"bytes=2-4", "", 206, "234", "bytes 2-4/10"},
		{"bytes=9-9", "", 206, "9", "bytes 9-9/10"},
		{"bytes=5-99999999999999999999999", "", 206, "56789", "bytes 5-9/10"},
		{"bytes=-3", "", 206, "789", "bytes 7-9/10"},
		{"bytes=-99", "", 206, text, "bytes 0-9/10"},
		{"BYTES = 1-1", "", 206, "1", "bytes 1-1/10"},
		{"bytes=0-1,3-4", "", 200, text, ""}, // several: the whole is allowed
		{"lines=1-2", "", 200, text, ""},
		{"bytes=10-", "", 416, "", "bytes */10"},
		{"bytes=99-100", "", 416, "", "bytes */10"},
		{"bytes=99999999999999999999999-", "", 416, "", "bytes */10"},
		{"bytes=4-2", "", 416, "", "bytes */10"},
		{"bytes=-0", "", 416, "", "bytes */10"},
		{"bytes=-", "", 416, "", "bytes */10"},
		{"bytes=a-b", "", 416, "", "bytes */10"},
		{"bytes=+1-2", "", 416, "", "bytes */10"},
		{"bytes=--1", "", 416, "", "bytes */10"},
		{"bytes=5", "", 416, "", "bytes */10"},
		{"bytes=2-4", tag, 206, "234", "bytes 2-4/10"},
		{"bytes=2-4", `"other"`, 200, text, ""},
		{"bytes=2-4", "W/" + tag, 200, text, ""},
		{"bytes=2-4", "Mon, 02 Jan 2006 15:04:05 GMT", 200, text, ""},
	} {
		for _, path := range []string{"/v1/blobs/" + name, "/v1/blobs/" + digest.Of([]byte(text)).BLAKE3.String(), "/v1/packages/ci/tool/1/files/a"} {
			var headers []string
			if c.rangeHeader != "" {
				headers = append(headers, "Range: "+c.rangeHeader)
			}
			if c.ifRange != "" {
				headers = append(headers, "If-Range: "+c.ifRange)
			}
			response, body := s.do("GET", path, "", headers...)
			if response.StatusCode != c.status || response.Header.Get("Content-Range") != c.contentRange || c.status != 416 && body != c.body {
				t.Errorf("%v: got %s, %q, Content-Range %q", headers, response.Status, body, response.Header.Get("Content-Range"))
			}
			if c.status == 416 {
				var p wire.Problem
				if err := json.Unmarshal([]byte(body), &p); err != nil || len(p.Errors) != 1 || p.Errors[0].Location != "Range" || response.Header.Get("Etag") != "" {
					t.Errorf("%v: got %s, want a problem on Range", headers, body)
				}
				continue
			}
			for header, want := range map[string]string{
				"Etag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
				"Repr-Digest": field("sha-256", text) + ", " + field("blake3", text), "Cache-Control": "private, max-age=31536000, immutable",
				"Content-Length": fmt.Sprint(len(c.body)),
			} {
				if got := response.Header.Get(header); got != want {
					t.Errorf("%v: %s is %q, want %q", headers, header, got, want)
				}
			}
		}
	}
	empty := newSite(t, server.Options{})
	nothing := empty.publish("")
	if response, body := empty.do("GET", "/v1/blobs/"+nothing, ""); response.StatusCode != 200 || body != "" || response.ContentLength != 0 {
		t.Errorf("the empty blob: got %s %q", response.Status, body)
	}
	for _, header := range []string{"Range: bytes=0-", "Range: bytes=-1", "Range: bytes=0-0"} {
		empty.refused(416, "Range", "GET", "/v1/blobs/"+nothing, "", header)
	}
}

func TestConditionsAndHead(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	name := s.publish("0123456789")
	tag := `"` + name + `"`
	for _, path := range []string{"/v1/blobs/" + name, "/v1/packages/ci/tool/1/files/a"} {
		for _, value := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			for _, method := range []string{"GET", "HEAD"} {
				response, body := s.do(method, path, "", "If-None-Match: "+value, "Range: bytes=1-2")
				if response.StatusCode != 304 || body != "" || response.Header.Get("Etag") != tag {
					t.Errorf("%s If-None-Match %s: got %s %q", method, value, response.Status, body)
				}
			}
		}
		if response, body := s.do("GET", path, "", `If-None-Match: "x"`); response.StatusCode != 200 || body != "0123456789" {
			t.Errorf("got %s %q", response.Status, body)
		}
		response, _ := s.do("HEAD", path, "", "Range: bytes=1-2") // a Range says nothing to a HEAD
		if response.StatusCode != 200 || response.ContentLength != 10 || response.Header.Get("Etag") != tag {
			t.Errorf("HEAD: got %s, %d bytes, %q", response.Status, response.ContentLength, response.Header.Get("Etag"))
		}
	}
	absent := digest.Of([]byte("absent")).SHA256.String()
	for _, method := range []string{"GET", "HEAD"} {
		for _, headers := range [][]string{nil, {"If-None-Match: *"}, {"Range: bytes=0-0"}} {
			if response, _ := s.do(method, "/v1/blobs/"+absent, "", headers...); response.StatusCode != 404 {
				t.Errorf("%s %v of an absent blob: got %s", method, headers, response.Status)
			}
		}
	}
	if _, text := s.do("GET", "/v1/packages/ci/tool/1/files/a?describe=true", ""); !strings.Contains(text, `"size":10`) {
		t.Errorf("describe: got %s", text)
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	s.publish("a")
	found, err := s.fixture.Registry.GetPackage(context.Background(), registry.PackageRef{Producer: "ci", Name: "tool", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/manifests/" + found.ManifestDigest.String()
	for accept, want := range map[string]string{"": "application/cbor", "*/*": "application/cbor", "application/cbor": "application/cbor", manifest.MediaType: manifest.MediaType} {
		response, body := s.do("GET", path, "", "Accept: "+accept)
		if manifest.Digest([]byte(body)) != found.ManifestDigest || response.Header.Get("Content-Type") != want || response.Header.Get("Etag") != `"`+found.ManifestDigest.String()+`"` {
			t.Errorf("Accept %q: got %s, %s", accept, response.Header.Get("Content-Type"), response.Header.Get("Etag"))
		}
	}
	response, body := s.do("GET", path, "", "Accept: application/json")
	var decoded manifest.Manifest
	if err := json.Unmarshal([]byte(body), &decoded); err != nil || len(decoded.Files) != 1 || decoded.Files[0].Digests != digest.Of([]byte("a")) {
		t.Fatalf("got %s (%v)", body, err)
	}
	if response.Header.Get("Etag") == `"`+found.ManifestDigest.String()+`"` || response.Header.Get("Vary") != "Accept" {
		t.Error("two representations have one ETag")
	}
	if response, body := s.do("GET", path, "", "Range: bytes=1-2"); response.StatusCode != 206 || len(body) != 2 {
		t.Errorf("a part: got %s, %d bytes", response.Status, len(body))
	}
}

// sendfileRegistry serves a file by a reader that looks at whom it writes to.
type sendfileRegistry struct {
	registry.Registry
	path string
	size int64
	seen chan string
}

type fileReader struct {
	*os.File
	from *sendfileRegistry
}

func (f fileReader) WriteTo(w io.Writer) (int64, error) {
	_, isReaderFrom := w.(io.ReaderFrom)
	unwrapped, isWrapper := w.(interface{ Unwrap() http.ResponseWriter })
	f.from.seen <- fmt.Sprint(isReaderFrom, isWrapper && unwrapped.Unwrap() != nil)
	return io.Copy(w, &io.LimitedReader{R: f.File, N: f.from.size})
}

func (r *sendfileRegistry) OpenBlob(context.Context, digest.Digest, *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	file, err := os.Open(r.path)
	return fileReader{file, r}, registry.BlobInfo{Digests: digest.Of(nil), Size: r.size}, err
}

// TestFilesGoOutWhole: the reader's WriteTo is used and finds an io.ReaderFrom, which is what sendfile needs.
func TestFilesGoOutWhole(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("0123456789abcdef", 5<<20/16) + "end"
	reg := &sendfileRegistry{path: filepath.Join(t.TempDir(), "blob"), size: int64(len(data)), seen: make(chan string, 1)}
	if err := os.WriteFile(reg.path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, address: serve(t, server.NewHandler(reg, server.Options{Logger: quiet()}))}
	response, body := s.do("GET", "/v1/blobs/"+digest.Of(nil).SHA256.String(), "")
	if response.StatusCode != 200 || body != data {
		t.Errorf("got %s and %d bytes, want %d", response.Status, len(body), len(data))
	}
	if seen := <-reg.seen; seen != "true true" {
		t.Errorf("ReaderFrom and Unwrap: %s", seen)
	}
	// A file that has shrunk: the client must not take a part for the whole.
	if err := os.Truncate(reg.path, 3<<20); err != nil {
		t.Fatal(err)
	}
	_, info, err := readAll(newClient(t, s.address), digest.Of(nil).SHA256)
	if err == nil {
		t.Errorf("a blob that ended early was read without an error: %+v", info)
	}
}

func readAll(client *client.Client, name digest.Digest) ([]byte, registry.BlobInfo, error) {
	body, info, err := client.OpenBlob(context.Background(), name, nil)
	if err != nil {
		return nil, info, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return data, info, err
}
