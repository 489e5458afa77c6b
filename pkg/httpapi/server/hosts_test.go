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
