package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// TestForeignAnswers: what stands before a registry, or in its place, is not taken for one.
func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status                int
		contentType, location string
	}{
		"a web page":       {200, "text/html", ""},
		"a missing page":   {404, "text/html", ""},
		"a page to log in": {302, "text/html", "https://sso.example.com/"},
		"another server":   {403, "application/xml", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.contentType+"; charset=utf-8")
				if test.location != "" {
					w.Header().Set("Location", test.location)
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, "<html>")
			}))
			t.Cleanup(site.Close)
			asked := newClient(t, site.Listener.Addr().String())
			for what, ask := range map[string]func() error{
				"a list":  func() error { _, err := asked.ListPackages(t.Context(), registry.PackageFilter{}); return err },
				"whoami":  func() error { _, err := asked.WhoAmI(t.Context(), ""); return err },
				"version": func() error { _, err := asked.ServerInfo(t.Context()); return err },
			} {
				var remote *client.RemoteError
				if err := ask(); !errors.As(err, &remote) || remote.Status != test.status || remote.Type != "" || remote.RequestID != "" ||
					remote.ContentType != test.contentType || remote.Location != test.location || remote.Date.IsZero() {
					t.Errorf("%s: %v %+v", what, err, remote)
				}
				if client.IsTemporary(remote) {
					t.Errorf("%s: it is temporary", what)
				}
			}
		})
	}
}

// TestDial: connections are made by the caller, and then a token may go over http.
func TestDial(t *testing.T) {
	t.Parallel()
	fixture := registrytest.OpenService(t, "")
	address := serve(t, server.NewHandler(fixture.Registry, server.Options{Logger: quiet(), Version: "1.2.3"}))
	dialed := ""
	asked, err := client.New("http://registry.team.svc:8080", client.Options{
		Token: func() (storage.Secret, error) { return storage.NewSecret("t"), nil },
		Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
			dialed = to
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(asked.Close)
	info, err := asked.ServerInfo(t.Context())
	if err != nil || info.Version != "1.2.3" || len(info.APIs) != 1 || info.APIs[0] != "v1" || dialed != "registry.team.svc:8080" {
		t.Errorf("%+v, %v, dialed %s", info, err, dialed)
	}
}
