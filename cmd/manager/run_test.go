package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output keeps what the manager logs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

var servingAt = regexp.MustCompile(`msg=serving url=(https?://[^ ]+)`)

// start runs an embedded manager over the samples until stop is called, and waits until it is ready.
func start(t *testing.T, flags ...string) (url string, logged *output, stop func() error) {
	t.Helper()
	logged, stop = launch(t, flags...)
	eventually(t, func() string {
		if url = logged.find(servingAt); url == "" {
			return "it does not say where it serves"
		}
		return get(url + "/readyz")
	})
	return url, logged, stop
}

// launch runs an embedded manager over the samples until stop is called.
func launch(t *testing.T, flags ...string) (logged *output, stop func() error) {
	t.Helper()
	args := append([]string{"--config-dir", filepath.Join("..", "..", "config", "samples", "embedded"), "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0"}, flags...)
	o, err := parse(args, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	logged = &output{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, logged) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(logged.String())
		}
	})
	return logged, stop
}

// find returns what the pattern's group matches first, "" if nothing does.
func (o *output) find(pattern *regexp.Regexp) string {
	if found := pattern.FindStringSubmatch(o.String()); found != nil {
		return found[1]
	}
	return ""
}

func eventually(t *testing.T, found func() string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for said := found(); said != ""; said = found() {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s: %s", said)
		}
		<-tick.C
	}
}

// get says what is wrong with an answer, "" if it is 200.
func get(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer.Status
	}
	return ""
}

// post sends JSON and reads the answer into out.
func post(t *testing.T, url, body string, out any) {
	t.Helper()
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", answer.Status, content)
	}
	if err == nil {
		err = json.Unmarshal(content, out)
	}
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

func TestRunServesAndDrains(t *testing.T) { // not parallel: it sets the process's loggers
	defer func(before string) { buildVersion = before }(buildVersion)
	buildVersion = "v1.2.3-test" // as the linker sets it
	url, logged, stop := start(t)
	checkVersion(t, url, buildVersion)
	checkOtherHost(t, url)
	var session struct{ ID, Backend string }
	post(t, url+"/v1/uploads", `{"producer":"p","name":"n","version":"1","retentionClass":"evidence"}`, &session)
	if session.Backend != "evidence" {
		t.Errorf("placed on %q", session.Backend)
	}

	// An upload that is half done when the manager is told to end is finished.
	body, feed := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/v1/uploads/"+session.ID+"/files/a", body)
	if err != nil {
		t.Fatal(err)
	}
	// The client sends nothing of the body before the handler reads it.
	request.Header.Set("Expect", "100-continue")
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: 30 * time.Second}}
	answered := make(chan string, 1)
	go func() {
		answer, err := client.Do(request)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer answer.Body.Close()
		content, _ := io.ReadAll(answer.Body)
		answered <- answer.Status + " " + string(content)
	}()
	half := bytes.Repeat([]byte("x"), 1<<20)
	if _, err := feed.Write(half); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	eventually(t, func() string {
		if !strings.Contains(logged.String(), "msg=draining") {
			return "it does not drain"
		}
		return ""
	})
	if _, err := feed.Write(half); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if got := <-answered; !strings.HasPrefix(got, "20") || !strings.Contains(got, fmt.Sprintf(`"size":%d`, 2*len(half))) {
		t.Errorf("the upload under way: %s", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := get(url + "/livez"); got == "" {
		t.Error("it still serves")
	}
	if strings.Contains(logged.String(), "SQLite serves") {
		t.Error("it warns of replicas, which there are none of with --config-dir")
	}
}

func checkVersion(t *testing.T, url, want string) {
	t.Helper()
	answer, err := http.Get(url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var document struct{ Info struct{ Version string } }
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil || document.Info.Version != want {
		t.Errorf("the version is %q (%v), want %q", document.Info.Version, err, want)
	}
}

// checkOtherHost asks as a web page does whose name resolves to loopback.
func checkOtherHost(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/packages", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "rebound.example"
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host is answered %s", answer.Status)
	}
}

func TestRunKeepsWhatItKnows(t *testing.T) { // not parallel: see above
	data := t.TempDir()
	var first, second struct{ Backends []struct{ ID, Name string } }
	for _, into := range []any{&first, &second} {
		url, _, stop := start(t, "--data-dir", data)
		answer, err := http.Get(url + "/v1/backends")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(answer.Body).Decode(into)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	if len(first.Backends) != 2 || fmt.Sprint(first) != fmt.Sprint(second) || first.Backends[0].ID == "" {
		t.Errorf("before %v, after %v", first, second)
	}
}

func TestRunRefusesBadConfiguration(t *testing.T) { // not parallel: see above
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("kind: Nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"--config-dir", dir, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0"}, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), o, &output{}); err == nil || !strings.Contains(err.Error(), "a.yaml, document 1: apiVersion") {
		t.Errorf("%v", err)
	}
}

// TestRunRefusesPipes: a named pipe in the place of a file is named, and nothing waits for it.
func TestRunRefusesPipes(t *testing.T) { // not parallel: see above
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"configuration": {"--config-dir", folder},
		"tokens":        {"--config-dir", t.TempDir(), "--token-file", pipe},
		"certificate":   {"--config-dir", t.TempDir(), "--tls-cert-file", pipe, "--tls-key-file", pipe},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(append(flags, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0"), func(string) string { return "" }, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- run(t.Context(), o, &output{}) }()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), pipe+" is a named pipe, not a regular file") {
					t.Errorf("%v", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it hangs")
			}
		})
	}
}
