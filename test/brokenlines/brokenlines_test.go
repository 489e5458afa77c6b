package brokenlines

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/programs"
)

const exitInterrupted = 130

// TestLineThatBreaks: 200 MiB through a line that breaks 20 times, at random, in either
// direction: what is sent twice is at most a twentieth.
func TestLineThatBreaks(t *testing.T) {
	t.Parallel()
	const bytes, cuts = 200 * mebibyte, 20
	w := newWorld(t)
	large := w.random("tree/large.bin", bytes)
	line := faultproxy.Cutting(t, w.manager.URL)

	line.Arm(faultproxy.InRequest, breaks(t, cuts, bytes)...)
	said := w.run(line.URL, programs.ExitDone, pushOf(w.path("tree"))...)
	sent := line.Passed(faultproxy.InRequest)
	t.Logf("%d cuts, %.3f times the bytes were sent", line.Cuts(), float64(sent)/bytes)
	if line.Cuts() != cuts || sent > bytes*105/100 {
		t.Errorf("push: %d cuts, %d bytes were sent for %d", line.Cuts(), sent, bytes)
	}
	contains(t, said.Stderr, "; trying again in ")

	line.Arm(faultproxy.InAnswer, breaks(t, cuts, bytes)...)
	w.run(line.URL, programs.ExitDone, "pull", "p/n@1", "-d", w.path("out"))
	read := line.Passed(faultproxy.InAnswer)
	t.Logf("%d cuts, %.3f times the bytes were read", line.Cuts(), float64(read)/bytes)
	if line.Cuts() != cuts || read > bytes*105/100 {
		t.Errorf("pull: %d cuts, %d bytes were read for %d", line.Cuts(), read, bytes)
	}
	w.same(large, w.path("out/large.bin"))
}

// TestGoesOnAfterItsOwnEnd: a push and a pull that were killed, or interrupted, go on
// when the same command runs again.
func TestGoesOnAfterItsOwnEnd(t *testing.T) {
	t.Parallel()
	const bytes, before = 80 * mebibyte, 60 * mebibyte
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "interrupted": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			large := w.random("tree/large.bin", bytes)
			check := func(what string, code int, stderr, kept string) {
				t.Helper()
				if signal == syscall.SIGKILL {
					return
				}
				if code != exitInterrupted || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%s: exit %d:\n%s", what, code, stderr)
				}
				contains(t, stderr, "artifactstore: interrupted; ", kept, "run the same command again to go on")
			}
			push := pushOf(w.path("tree"))
			code, stderr := w.stopped(faultproxy.InRequest, before, signal, push...)
			check("push", code, stderr, "the registry keeps what has arrived for 24 h: ")
			line := faultproxy.Cutting(t, w.manager.URL)
			said := w.run(line.URL, programs.ExitDone, push...)
			contains(t, said.Stderr, "going on with an upload that was interrupted")
			if sent := line.Passed(faultproxy.InRequest); sent > bytes-before+8*mebibyte {
				t.Errorf("the second push sent %d of %d bytes", sent, int64(bytes))
			}
			if left, err := filepath.Glob(w.path("state/artifactstore/uploads/*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}

			pull := []string{"pull", "p/n@1", "-d", w.path("out")}
			code, stderr = w.stopped(faultproxy.InAnswer, before, signal, pull...)
			check("pull", code, stderr, "of unfinished files are kept in "+w.path("out/.artifactstore-pull"))
			line.Arm(faultproxy.InAnswer)
			w.run(line.URL, programs.ExitDone, pull...)
			if read := line.Passed(faultproxy.InAnswer); read > bytes-before+8*mebibyte {
				t.Errorf("the second pull read %d of %d bytes", read, int64(bytes))
			}
			w.same(large, w.path("out/large.bin"))
			if _, err := os.Lstat(w.path("out/.artifactstore-pull")); !os.IsNotExist(err) {
				t.Errorf("the folder is left behind: %v", err)
			}
		})
	}
}

// TestWrongPart: what is left of a pull is checked as all else.
func TestWrongPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	large := w.random("tree/large.bin", 10*mebibyte)
	w.run(w.manager.URL, programs.ExitDone, pushOf(w.path("tree"))...)
	w.stopped(faultproxy.InAnswer, 6*mebibyte, syscall.SIGKILL, "pull", "p/n@1", "-d", w.path("out"))
	parts, err := filepath.Glob(w.path("out/.artifactstore-pull/*"))
	w.must(err)
	damaged := 0
	for _, part := range parts {
		if content, err := os.ReadFile(part); err == nil && len(content) > mebibyte {
			content[mebibyte/2] ^= 1
			w.must(os.WriteFile(part, content, 0o600))
			damaged++
		}
	}
	if damaged != 1 {
		t.Fatalf("nothing is left of the first pull: %q", parts)
	}
	w.run(w.manager.URL, programs.ExitDone, "pull", "p/n@1", "-d", w.path("out"))
	w.same(large, w.path("out/large.bin"))
}

// TestProxyThatLimitsBodies: where a proxy takes bodies of 1 MiB only, everything gets through.
func TestProxyThatLimitsBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, bytes := range map[string]int64{"large.bin": 40 * mebibyte, "medium.bin": 3 * mebibyte, "small/1": 10, "small/2": 100_000} {
		w.random("tree/"+name, bytes)
	}
	for i := range 60 { // a bundle of 4 MiB
		w.random(fmt.Sprintf("tree/many/%02d", i), 100_000)
	}
	var refused atomic.Int32
	proxy := httptest.NewServer(faultproxy.Limiting(t, w.manager.URL, mebibyte, func() { refused.Add(1) }))
	defer proxy.Close()
	said := w.run(proxy.URL, programs.ExitDone, pushOf(w.path("tree"))...)
	contains(t, said.Stderr, "a proxy before the registry limits the size of a request (413): large files are sent in pieces of ")
	if strings.Count(said.Stderr, "413") != 1 || refused.Load() == 0 {
		t.Errorf("after %d refusals:\n%s", refused.Load(), said.Stderr)
	}
	w.run(w.manager.URL, programs.ExitDone, "manifest", "verify", "p/n@1", w.path("tree"))
}

// TestRegistryThatIsAway: a command waits for a registry, for as long as it was told.
func TestRegistryThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy := faultproxy.HTTP(t, w.manager.URL)
	busy := faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Page: "<html>busy</html>"}
	proxy.Arm(busy)
	said := w.run(proxy.URL, programs.ExitDone, "list")
	contains(t, said.Stderr, "answered 503 with a web page (text/html): this is not the API of a registry, or a proxy answers in its place; check host, port and path; trying again in ", " (for up to ")
	if strings.Count(said.Stderr, "\n") != 1 {
		t.Errorf("more than one line for one wait:\n%s", said.Stderr)
	}
	proxy.Arm(busy)
	if said = w.run(proxy.URL, programs.ExitDone, "list", "-q"); said.Stderr != "" {
		t.Errorf("quiet: %s", said.Stderr)
	}
	busy.Always = true
	proxy.Arm(busy)
	said = w.run(proxy.URL, programs.ExitFailed, "list", "--retry-for", "1s")
	contains(t, said.Stderr, "a proxy answers in its place; check host, port and path\n")
	said = w.run(proxy.URL, programs.ExitFailed, "list", "--retry-for", "0")
	if strings.Count(said.Stderr, "\n") != 1 || !strings.HasSuffix(said.Stderr, "check host, port and path\n") {
		t.Errorf("without patience: %s", said.Stderr)
	}
}
