package client_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// serve starts a server for the test and returns its address.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := serving.NewServer(handler)
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }() //nolint:errcheck // ErrServerClosed
	t.Cleanup(func() { server.Close(); <-done })              //nolint:errcheck // a test's
	return listener.Addr().String()
}

func newClient(t *testing.T, address string) *client.Client {
	t.Helper()
	client, err := client.New("http://"+address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// TestClientOverHandler runs the registry's contract through client, server and handler.
func TestClientOverHandler(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
		fixture := registrytest.OpenService(t, "")
		fixture.Registry = newClient(t, serve(t, server.NewHandler(fixture.Registry, server.Options{Logger: quiet()})))
		return fixture
	})
}

var _ registry.Registry = (*client.Client)(nil)

// TestTokenInClear: a token goes over http to this machine only, unless told otherwise.
func TestTokenInClear(t *testing.T) {
	t.Parallel()
	token := func() (storage.Secret, error) { return storage.NewSecret("t"), nil }
	for address, refused := range map[string]bool{
		"http://127.0.0.1:1": false, "http://[::1]:1": false, "http://localhost": false, "http://LocalHost:80": false,
		"https://registry.example.com": false, "http://registry.example.com": true, "http://10.0.0.1": true,
		"http://localhost.example.com": true, "http://127.0.0.1.example.com": true, "http://0.0.0.0": true,
	} {
		_, err := client.New(address, client.Options{Token: token})
		if errors.Is(err, client.ErrTokenInClear) != refused || !refused && err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := client.New(address, client.Options{Token: token, InsecureToken: true}); err != nil {
			t.Errorf("%s, on purpose: %v", address, err)
		}
		if _, err := client.New(address, client.Options{}); err != nil {
			t.Errorf("%s, without a token: %v", address, err)
		}
	}
}
