package httpapi_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/httpapi"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
)

// serve starts a server for the test and returns its address.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(handler)
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }() //nolint:errcheck // ErrServerClosed
	t.Cleanup(func() { server.Close(); <-done })              //nolint:errcheck // a test's
	return listener.Addr().String()
}

func newClient(t *testing.T, address string) *httpapi.Client {
	t.Helper()
	client, err := httpapi.NewClient("http://"+address, httpapi.ClientOptions{})
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
		fixture.Registry = newClient(t, serve(t, httpapi.NewHandler(fixture.Registry, httpapi.Options{Logger: quiet()})))
		return fixture
	})
}

var _ registry.Registry = (*httpapi.Client)(nil)
