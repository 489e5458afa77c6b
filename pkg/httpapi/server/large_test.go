package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
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

const (
	largeSize = 2 << 20
	mostLarge = 1 // at a time
)

func (c *crowded) stay() {
	c.mu.Lock()
	if c.inside++; c.inside == mostLarge+1 {
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

func (c *crowded) PutFiles(_ context.Context, id string, _ func() (registry.NamedContent, error)) (registry.Bundled, error) {
	if id != "x" {
		return registry.Bundled{}, registry.ErrNotFound
	}
	return registry.Bundled{}, nil
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
		t.Errorf("more than %d large bodies were worked on at a time", mostLarge)
	default:
	}
}

// TestSlowLargeBody: whoever is slow loses his turn, and the next one has it.
func TestSlowLargeBody(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{LargeBodyTimeout: 2 * time.Second}) // the next one needs some of it, too
	path := "/v1/uploads/" + s.session + "/files"
	response, p := s.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"files\":[%s", path, largeSize, strings.Repeat(" ", 32<<10)), false)
	if response.StatusCode != 408 || len(p.Errors) != 1 || p.Errors[0].Location != "body" {
		t.Errorf("got %s %+v, want a 408 problem on body", response.Status, p)
	}
	body := `{"files":[{"path":"a"}]}` + strings.Repeat(" ", largeSize)
	if response, text := s.do("POST", path, body); response.StatusCode != 200 {
		t.Errorf("the next one: got %s %s", response.Status, text)
	}
}

// TestPlacesAreNotForThoseWhoDrip: a body of which next to nothing has come has no
// place, of a session that does not exist no byte is read, and one that has a
// place and stops loses it within seconds when others wait.
func TestPlacesAreNotForThoseWhoDrip(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	path := "/v1/uploads/" + s.session + "/files"
	body := `{"files":[{"path":"a"}]}` + strings.Repeat(" ", largeSize)
	answered := func(what string, within time.Duration) {
		t.Helper()
		began := time.Now()
		response, text := s.do("POST", path, body)
		if took := time.Since(began); response.StatusCode != 200 || took > within {
			t.Errorf("beside %s: got %s %s after %v", what, response.Status, text, took)
		}
	}
	begin := func(path, sent string) net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
		if _, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", path, len(sent), sent); err != nil {
			t.Fatal(err)
		}
		return connection
	}
	for range 20 {
		begin(path, `{"files":[`)
	}
	answered("bodies of ten bytes", 2*time.Second)
	nobody := begin("/v1/uploads/00000000-0000-0000-0000-000000000000/files", `{`)
	if err := nobody.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(nobody), nil); err != nil || answer.StatusCode != http.StatusNotFound {
		t.Errorf("a session that does not exist: %v, %v", answer, err)
	}
	stopped := begin(path, `{"files":[`+strings.Repeat(" ", 100<<10))
	time.Sleep(100 * time.Millisecond) // it has the place
	answered("a body that stops", 9*time.Second)
	if err := stopped.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(stopped), nil); err != nil || answer.StatusCode != http.StatusRequestTimeout {
		t.Errorf("the body that stopped: %v, %v", answer, err)
	}
}

// TestUnreadAnswersGiveTheirPlaceBack: whoever does not read what a declaration is
// answered with loses the connection when others wait.
func TestUnreadAnswersGiveTheirPlaceBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, server.Options{})
	path := "/v1/uploads/" + s.session + "/files"
	var files []string
	for i := range 900 { // all of them are asked for, again and again
		files = append(files, fmt.Sprintf(`{"path":"%0900d"}`, i))
	}
	body := `{"files":[` + strings.ReplaceAll(strings.Join(files, ","), "000000000000", "0/0000000000") + `]}`
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		connection.SetWriteDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // a test's
		for range 40 {                                               // until the kernel takes no more answers
			fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body) //nolint:errcheck // it ends by its deadline
		}
	}()
	<-sent
	began := time.Now()
	response, text := s.do("POST", path, body, "Content-Type: application/json")
	if took := time.Since(began); response.StatusCode != 200 || took > 9*time.Second {
		t.Errorf("beside it: got %s %.100s after %v", response.Status, text, took)
	} else {
		t.Logf("answered after %v", took)
	}
}
