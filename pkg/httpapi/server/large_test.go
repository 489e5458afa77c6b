package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// crowded stays in every call with a large body until too many are in at once,
// or a moment has passed that lets them come.
type crowded struct {
	registry.Registry
	mu      sync.Mutex
	inside  int
	tooMany chan struct{}
	entered chan struct{} // one for each call
}

const largeSize = 2 << 20

func (c *crowded) stay() {
	c.mu.Lock()
	if c.inside++; c.inside == server.MaxLargeBodies+1 {
		close(c.tooMany)
	}
	c.mu.Unlock()
	c.entered <- struct{}{}
	select {
	case <-c.tooMany:
	case <-time.After(300 * time.Millisecond):
	}
	c.mu.Lock()
	c.inside--
	c.mu.Unlock()
}

func (c *crowded) DeclareFiles(_ context.Context, _ string, files []registry.FileDeclaration) (registry.Declared, error) {
	if len(files) > 1 {
		c.stay()
	}
	return registry.Declared{}, nil
}

func (c *crowded) Publish(_ context.Context, _ string, manifest []byte) (registry.Publication, error) {
	if len(manifest) > 0 {
		c.stay()
	}
	return registry.Publication{}, nil
}

func TestLargeBodiesWait(t *testing.T) {
	t.Parallel()
	c := &crowded{tooMany: make(chan struct{}), entered: make(chan struct{}, 100)}
	s := &site{t: t, address: serve(t, server.NewHandler(c, server.Options{Logger: quiet()}))}
	file := `{"path":"` + strings.Repeat("x", 900) + `"}`
	declaration := `{"files":[` + strings.Repeat(file+",", largeSize/len(file)) + file + `]}`
	manifest := strings.Repeat("m", largeSize)
	var clients sync.WaitGroup
	send := func(path, contentType string, body io.Reader) {
		clients.Go(func() {
			answer, err := http.Post("http://"+s.address+path, contentType, body)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			if answer.StatusCode >= 300 {
				t.Errorf("%s: got %s", path, answer.Status)
			}
		})
	}
	for range 2 {
		send("/v1/uploads/x/files", "application/json", strings.NewReader(declaration))
		send("/v1/uploads/x/files", "application/json", io.MultiReader(strings.NewReader(declaration))) // of unknown length
		send("/v1/uploads/x/publish", "application/cbor", strings.NewReader(manifest))
	}
	<-c.entered
	for _, request := range [][2]string{{"/v1/uploads/x/files", `{"files":[` + file + `]}`}, {"/v1/uploads/x/publish", ""}} {
		if response, text := s.do("POST", request[0], request[1], "Content-Type: application/json"); response.StatusCode >= 300 {
			t.Errorf("a small body: got %s %s", response.Status, text)
		}
	}
	if len(c.entered) > 4 {
		t.Error("a small body waited for all the large ones")
	}
	clients.Wait()
	select {
	case <-c.tooMany:
		t.Errorf("more than %d large bodies were worked on at a time", server.MaxLargeBodies)
	default:
	}
}

// TestSlowLargeBody: whoever is slow loses his turn, and the next one has it.
func TestSlowLargeBody(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{LargeBodyTimeout: 2 * time.Second}) // the next one needs some of it, too
	path := "/v1/uploads/" + s.session + "/files"
	response, p := s.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"files\":[", path, largeSize), false)
	if response.StatusCode != 408 || len(p.Errors) != 1 || p.Errors[0].Location != "body" {
		t.Errorf("got %s %+v, want a 408 problem on body", response.Status, p)
	}
	body := `{"files":[{"path":"a"}]}` + strings.Repeat(" ", largeSize)
	if response, text := s.do("POST", path, body); response.StatusCode != 200 {
		t.Errorf("the next one: got %s %s", response.Status, text)
	}
}
