package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func badPublish(t *testing.T, s *site, id string, publication registry.Publication) {
	publish := func(id string, manifest []byte) request {
		return request{method: "POST", target: "/v1/uploads/" + id + "/publish", header: []string{"Content-Type: application/cbor"}, body: manifest}
	}
	t.Run("again", func(t *testing.T) {
		status, _, body := s.send(t, publish(id, nil))
		if again := decodeJSON[registry.Publication](t, body); status != http.StatusCreated || again != publication {
			t.Errorf("publishing again is answered by %d: %s, first %+v", status, body, publication)
		}
	})
	t.Run("a file afterwards", func(t *testing.T) {
		s.refuse(t, request{method: "PUT", target: "/v1/uploads/" + id + "/files/late", body: []byte("x")}, refused{status: http.StatusConflict})
		s.refuse(t, declare(id, pathJSON("late")), refused{status: http.StatusConflict})
		s.refuse(t, request{method: "DELETE", target: "/v1/uploads/" + id}, refused{status: http.StatusConflict})
	})
	t.Run("a version with another manifest", func(t *testing.T) {
		upload := s.open(t, "published", "1")
		s.put(t, upload.ID, "a/b", []byte("other content"))
		s.refuse(t, publish(upload.ID, nil), refused{http.StatusConflict, "version"})
	})
	t.Run("nothing in it", func(t *testing.T) {
		s.refuse(t, publish(s.open(t, "empty", "1").ID, nil), refused{http.StatusBadRequest, "files"})
	})
	right, err := s.client.GetManifest(background, publication.ManifestDigest)
	if err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{
		"a manifest that is no CBOR":    []byte("not cbor"),
		"a manifest of something else":  right,
		"a manifest and a byte":         append(bytes.Clone(right), 0),
		"a manifest that is not sorted": {0xa2, 0x61, 'b', 0x01, 0x61, 'a', 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			upload := s.open(t, "manifests", "1")
			s.put(t, upload.ID, "a/b", []byte("some content"))
			s.refuse(t, publish(upload.ID, sent), refused{http.StatusBadRequest, "manifest"})
		})
	}
}

func badReads(t *testing.T, s *site, name digest.Dual, publication registry.Publication) {
	file := fmt.Sprintf("/v1/packages/%s/%s/%s/files/", publication.Producer, publication.Name, publication.Version)
	for what, test := range map[string]struct {
		request
		refused
	}{
		"a range outside":        {request{method: "GET", target: "/v1/blobs/" + name.SHA256.String(), header: []string{"Range: bytes=1000-"}}, refused{http.StatusRequestedRangeNotSatisfiable, "Range"}},
		"a file's range outside": {request{method: "GET", target: file + "a/b", header: []string{"Range: bytes=12-12"}}, refused{http.StatusRequestedRangeNotSatisfiable, "Range"}},
		"a cursor past the head": {request{method: "GET", target: fmt.Sprintf("/v1/events?after=%d", publication.Position+1000)}, refused{http.StatusBadRequest, "after"}},
		"no cursor":              {request{method: "GET", target: "/v1/events?after=-1"}, refused{http.StatusBadRequest, "after"}},
		"a blob of no digest":    {request{method: "GET", target: "/v1/blobs/sha256:zz"}, refused{http.StatusBadRequest, "digest"}},
		"an unknown blob":        {request{method: "GET", target: "/v1/blobs/" + digest.Of([]byte("unknown")).SHA256.String()}, refused{status: http.StatusNotFound}},
		"a path that escapes":    {request{method: "GET", target: file + "../../../etc/passwd"}, refused{status: http.StatusBadRequest}},
		"an unknown session":     {request{method: "GET", target: "/v1/uploads/nobody"}, refused{status: http.StatusNotFound}},
	} {
		t.Run(what, func(t *testing.T) { s.refuse(t, test.request, test.refused) })
	}
}
