package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var profilesAt = regexp.MustCompile(`msg="serving profiles" url=(http://\S+)`)

// TestProfiles: they are at their own address, for this machine, and the lock of the head
// is among the metrics.
func TestProfiles(t *testing.T) { // not parallel: it sets the process's loggers
	url, logged, _ := start(t, "--profile-listen", "127.0.0.1:0")
	profiles := logged.find(profilesAt)
	for path, want := range map[string]string{"/debug/pprof/": "", "/debug/pprof/heap": "", "/debug/pprof/profile?seconds=1": "", "/metrics": "404"} {
		if got := get(profiles + path); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := get(url + "/debug/pprof/heap"); !strings.HasPrefix(got, "404") {
		t.Errorf("profiles where everybody asks: %q", got)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, profiles+"/debug/pprof/heap", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "attacker.example"
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close() //nolint:errcheck // a test's
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("as another host: %s", answer.Status)
	}
	answer, err = http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // a test's
	text, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(text), "artifactstore_log_head_held_seconds_count") {
		t.Errorf("no histogram of the head's lock: %v", err)
	}
}
