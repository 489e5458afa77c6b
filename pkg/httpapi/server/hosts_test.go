package server_test

import (
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
)

func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	guarded, open := newSite(t, server.Options{LoopbackOnly: true}), newSite(t, server.Options{})
	for host, taken := range map[string]bool{
		"localhost": true, "LocalHost:8080": true, "127.0.0.1": true, "127.0.0.1:1": true, "127.8.9.10:80": true, "[::1]": true, "[::1]:8080": true,
		"": false, "rebound.example": false, "rebound.example:8080": false, "localhost.example": false, "127.0.0.1.example": false,
		"128.0.0.1": false, "0.0.0.0": false, "10.0.0.1:8080": false, "[::]": false, "[fe80::1]:8080": false,
	} {
		for _, request := range []string{"GET /v1/packages", "GET /v1/packages/a/b/c/files/d", "PUT " + guarded.file("new"), "GET /livez", "GET /nothing"} {
			bytes := request + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
			response, p := guarded.raw(bytes, false)
			if (response.StatusCode != 421) != taken {
				t.Errorf("%s to %q: got %s", request, host, response.Status)
			}
			if !taken && (len(p.Errors) != 1 || p.Errors[0].Location != "Host" || !strings.HasSuffix(p.Type, "/misdirected")) {
				t.Errorf("%s to %q: got %+v, want a problem on Host", request, host, p)
			}
			if response, _ := open.raw(bytes, false); response.StatusCode == 421 {
				t.Errorf("%s to %q: refused although others may ask", request, host)
			}
		}
	}
}

// TestPagesOfOtherSites: a web page must not have its reader's browser open
// uploads, start sweeps or probe. On loopback it must not keep streams open either.
func TestPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	guarded, open := newSite(t, server.Options{LoopbackOnly: true}), newSite(t, server.Options{})
	const (
		none   = iota // passes
		unsafe        // is refused if it has effects
		always        // is refused, but on loopback only if it has none
	)
	for headers, refused := range map[string]int{
		"": none, "Sec-Fetch-Site: none\r\n": none, "Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost:8080\r\n": none, "Origin: http://localhost:8080\r\n": none,
		"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n": unsafe, // a link, or a form
		"Origin: https://evil.example\r\n":                           unsafe, // an old browser
		"Origin: null\r\n":                                           unsafe, // a sandboxed frame
		"Origin: http://localhost:3000\r\n":                          unsafe, // another program of this machine
		"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nOrigin: https://evil.example\r\n": always,
		"Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\nOrigin: http://localhost:3000\r\n":    always,
	} {
		for _, s := range []*site{guarded, open} {
			for request, effects := range map[string]bool{
				"GET /v1/packages": false, "GET /v1/events": false,
				"POST /v1/uploads": true, "POST /v1/backends/first/sweeps": true, "POST /v1/backends/first/probe": true, "POST /v1/backends/first/verifications": true,
				"DELETE /v1/uploads/x": true, "PUT " + s.file("new"): true, "PATCH " + s.file("new"): true, "POST /nothing": true,
			} {
				response, p := s.raw(request+" HTTP/1.1\r\nHost: localhost:8080\r\n"+headers+"Content-Length: 0\r\nConnection: close\r\n\r\n", false)
				want := effects && refused != none || !effects && refused == always && s == guarded
				if got := response.StatusCode == 403; got != want {
					t.Errorf("%s with %q, on loopback %t: got %s, want it refused: %t", request, headers, s == guarded, response.Status, want)
				}
				if want && !strings.HasSuffix(p.Type, "/cross-site") {
					t.Errorf("%s with %q: got %+v", request, headers, p)
				}
			}
		}
	}
}
