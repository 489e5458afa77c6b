package server_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/serving"
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
