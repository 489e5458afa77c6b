//go:build base

package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/programs"
)

// request is one to the HTTP API.
type request struct {
	name string
	path func(s sample) string
	// scans: it looks at a bounded part of the packages or events, which 1,000 of them are not yet.
	scans bool
}

func at(path string) func(sample) string { return func(sample) string { return path } }

var requests = []request{
	{name: "/v1/packages", path: at("/v1/packages?limit=100")},
	{name: "/v1/packages of a producer", path: func(s sample) string { return "/v1/packages?limit=100&producer=" + s.Producer }},
	{name: "/v1/packages of a rare retention class", path: at("/v1/packages?limit=100&retentionClass=evidence")},
	{name: "/v1/packages/{producer}/{name}", path: func(s sample) string { return "/v1/packages/" + s.Producer + "/" + s.Name }},
	{name: "/v1/packages/{producer}/{name}/{version}", path: func(s sample) string {
		return "/v1/packages/" + s.Producer + "/" + s.Name + "/" + s.Version
	}},
	{name: "a file, described", path: func(s sample) string {
		return "/v1/packages/" + s.Producer + "/" + s.Name + "/" + s.Version + "/files/" + s.file.Path + "?describe=true"
	}},
	{name: "/v1/manifests/{digest}", path: func(s sample) string { return "/v1/manifests/" + url.PathEscape(s.ManifestDigest.String()) }},
	{name: "/v1/events", path: func(s sample) string { return fmt.Sprintf("/v1/events?after=%d", s.Position) }},
	{name: "/v1/damaged", path: at("/v1/damaged?limit=100")},
	{name: "/v1/damaged of a producer", path: func(s sample) string { return "/v1/damaged?limit=100&producer=" + s.Producer }},
	{name: "/v1/backends", path: at("/v1/backends")},
	{name: "/v1/backends/{id}", path: func(s sample) string { return "/v1/backends/" + s.backend }},
	{name: "/v1/backends/{id}/locations", path: func(s sample) string { return "/v1/backends/" + s.backend + "/locations?limit=100" }},
	{name: "/v1/backends/{id}/locations, failed", path: func(s sample) string { return "/v1/backends/" + s.backend + "/locations?limit=100&state=failed" }},
	{name: "/v1/health", path: at("/v1/health")},
	{name: "/metrics", path: at("/metrics")},
	{name: "/v1/packages/…/files", path: func(s sample) string {
		return "/v1/packages/" + s.Producer + "/" + s.Name + "/" + s.Version + "/files"
	}},
	{name: "/v1/blobs/{digest}/uses", path: func(s sample) string { return "/v1/blobs/" + s.file.Digests.SHA256.String() + "/uses" }},
	{name: "/v1/tags/{producer}/{name}", path: func(s sample) string { return "/v1/tags/" + s.Producer + "/" + s.Name }},
	{name: "/v1/packages by a pattern that none matches", path: at("/v1/packages?nameGlob=**zzz"), scans: true},
	{name: "/v1/packages with an annotation that none has", path: at("/v1/packages?annotation=no=such"), scans: true},
	{name: "/v1/events of nobody", path: at("/v1/events?actor=nobody"), scans: true},
}

// ask sends a request and reads the answer.
func ask(b *testing.B, m *programs.Manager, r request, s sample) time.Duration {
	b.Helper()
	began := time.Now()
	answer, err := http.Get(m.URL + r.path(s))
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s, %v\n%s", r.name, answer.Status, err, text[:min(len(text), 500)])
	}
	return time.Since(began)
}
