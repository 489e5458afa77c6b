package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// TestFollowsThroughAnOutage: whoever had a stream gets the next event, however
// often the registry, or what is before it, is away in between. Whoever never had one is told.
func TestFollowsThroughAnOutage(t *testing.T) {
	t.Parallel()
	const outage = reconnects + 1
	var asked int // requests come one after the other
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		position := map[int]int{1: 1, outage + 2: 2}[asked]
		if position == 0 {
			// The registry's, its limit of requests, and a router's that finds no pod.
			w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusNotFound}[asked%3])
			return
		}
		if after := r.URL.Query().Get("after"); after != fmt.Sprint(position-1) {
			t.Errorf("request %d asks for what is after %s", asked, after)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: log:%d\ndata: {\"position\": %d}\n\n", position, position)
	}))
	defer server.Close()
	client, err := New(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	enough := errors.New("enough")
	follow := func() (seen []uint64, err error) {
		err = client.FollowEvents(context.Background(), registry.EventQuery{}, func(event registry.Event) error {
			if seen = append(seen, event.Position); event.Position == 2 {
				return enough
			}
			return nil
		})
		return seen, err
	}
	if seen, err := follow(); !errors.Is(err, enough) || len(seen) != 2 {
		t.Errorf("it has seen %v: %v", seen, err)
	}
	if seen, err := follow(); err == nil || len(seen) != 0 {
		t.Errorf("there was no stream: %v, %v", seen, err)
	}
}

// TestFollowsNoPage: a proxy's page is no stream, so following it ends.
func TestFollowsNoPage(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>please log in</html>")
	}))
	defer server.Close()
	client, err := New(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = client.FollowEvents(ctx, registry.EventQuery{}, func(registry.Event) error { return nil })
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("following a page: %v", err)
	}
}
