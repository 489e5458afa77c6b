package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/controllers/observe/observetest"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// eventually polls until found returns "", and fails with what it said last.
func eventually(t *testing.T, found func() string) {
	t.Helper()
	eventuallyIn(t, 30*time.Second, found)
}

func eventuallyIn(t *testing.T, patience time.Duration, found func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		said := found()
		if said == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", patience, said)
		}
		<-tick.C
	}
}

// logs keeps what was logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// embedded is a running Embedded over a folder of its own.
type embedded struct {
	t         *testing.T
	dir, data string
	table     *routing.Table
	registrar *observetest.Registrar
	logs      logs
}

func startEmbedded(t *testing.T, files map[string]string) *embedded {
	t.Helper()
	return startEmbeddedAs(t, files, func(*Embedded) {})
}

func startEmbeddedAs(t *testing.T, files map[string]string, change func(*Embedded)) *embedded {
	t.Helper()
	e := &embedded{t: t, dir: t.TempDir(), data: t.TempDir(), table: routing.New(), registrar: observetest.NewRegistrar()}
	for name, content := range files {
		e.write(name, content)
	}
	observer := observe.New(e.registrar, buffer.New(4<<20, 1<<20), declared.Settings{DataDir: e.data, LocalRoot: e.data}, nil)
	run := Embedded{Dir: e.dir, Observer: observer, Table: e.table, Logger: slog.New(slog.NewTextHandler(&e.logs, nil))}
	change(&run)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, observer.Close()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(e.logs.String())
		}
	})
	eventually(t, func() string {
		if !e.table.Loaded() {
			return "the table is not loaded"
		}
		return ""
	})
	return e
}

func (e *embedded) write(name, content string) {
	e.t.Helper()
	// As an editor does: a new file takes the name.
	temporary := filepath.Join(e.dir, ".new")
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(e.dir, name)); err != nil {
		e.t.Fatal(err)
	}
}

// goesTo waits until the class is placed on the backend ("" is nowhere).
func (e *embedded) goesTo(class, backend string) {
	e.t.Helper()
	eventually(e.t, func() string {
		explained := e.table.Explain(placement.Request{Producer: "p", RetentionClass: class})
		if explained.Backend == backend {
			return ""
		}
		return fmt.Sprintf("%s goes to %q and not to %q: %s", class, explained.Backend, backend, explained.Reason)
	})
}

func (e *embedded) backend(name string) placement.Backend {
	for _, b := range e.table.Backends() {
		if b.Name == name {
			return b
		}
	}
	return placement.Backend{}
}

func localYAML(name, path string) string {
	return fmt.Sprintf("apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata: {name: %s}\nspec: {local: {path: %s}}\n---\n", name, path)
}

func policyYAML(class, special, otherwise string) string {
	return fmt.Sprintf("apiVersion: artifactstore.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {name: p}\nspec:\n  rules:\n  - match: {retentionClasses: [%s]}\n    backends: [%s]\n  - backends: [%s]\n", class, special, otherwise)
}

func TestEmbeddedFollowsEdits(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, map[string]string{
		"backends.yaml": localYAML("one", "a/one") + localYAML("two", "a/two"),
		"policy.yaml":   policyYAML("evidence", "two", "one"),
		"notes.txt":     "not YAML: [",
	})
	e.goesTo("evidence", "two")
	e.goesTo("other", "one")
	first := e.backend("one")
	if first.ID == "" || first.ID == e.backend("two").ID || first.Driver != "local" || first.LastProbe.IsZero() {
		t.Errorf("%+v", first)
	}

	// A stored blob is still read by the recorded id when the policy has changed.
	content := []byte("bytes that stay")
	info, err := first.Store.Put(t.Context(), storage.Source{Reader: bytes.NewReader(content), Size: int64(len(content)), Want: digest.Of(content)})
	if err != nil {
		t.Fatal(err)
	}
	e.write("policy.yaml", policyYAML("evidence", "one", "two"))
	e.goesTo("evidence", "one")
	e.goesTo("other", "two")
	again, err := e.table.Open(first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Store.Head(t.Context(), info.Digests.SHA256); err != nil {
		t.Error(err)
	}
	if again.Store != first.Store {
		t.Error("a change of policy opened the driver anew")
	}
}

func TestEmbeddedKeepsTheLastGoodTable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, content, says string }{
		{"a field that does not exist", "policy.yaml", strings.Replace(policyYAML("x", "one", "one"), "backends:", "backend:", 1), `spec.rules[0].backend`},
		{"a field written twice", "policy.yaml", policyYAML("x", "one", "one") + "  rules: []\n", "already set in map"},
		{"no YAML", "policy.yaml", "a: [", "policy.yaml, document 1"},
		{"another kind", "more.yaml", "apiVersion: v1\nkind: Secret\n", "apiVersion"},
		{"a second of the name", "more.yaml", localYAML("one", "elsewhere"), "metadata.name"},
		{"bytes cannot be moved by an edit", "backends.yaml", localYAML("one", "moved"), "spec.local.path: path is immutable"},
		{"a path that climbs", "more.yaml", localYAML("out", "../out"), "spec.local.path: path must not contain '..'"},
		{"an empty match", "policy.yaml", strings.Replace(policyYAML("x", "one", "one"), "{retentionClasses: [x]}", "{}", 1), "spec.rules[0].match"},
		{"a backend that cannot be", "policy.yaml", strings.Replace(policyYAML("x", "one", "one"), "backends: [one", "backends: [Not a name!", 1), `spec.rules[0].backends[0]: `},
		{"a glob with a slash", "policy.yaml", strings.Replace(policyYAML("x", "one", "one"), "{retentionClasses: [x]}", "{producers: [a/b]}", 1), "spec.rules[0].match.producers[0]"},
		{"a probe that never comes", "more.yaml", localYAML("l", "l")[:len(localYAML("l", "l"))-len("}\n---\n")] + ", probe: {interval: 1s}}\n", "spec.probe.interval"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t, map[string]string{"backends.yaml": localYAML("one", "one")})
			e.goesTo("x", "one")
			e.write(tt.file, tt.content)
			eventually(t, func() string {
				if text := e.logs.String(); !strings.Contains(text, "the edited configuration is invalid") {
					return "nothing said about the edit"
				} else if !strings.Contains(text, tt.says) || !strings.Contains(text, tt.file) && !strings.Contains(tt.says, "immutable") {
					t.Fatalf("it says neither %q nor the file:\n%s", tt.says, text)
				}
				return ""
			})
			e.goesTo("x", "one")
		})
	}
}

func TestEmbeddedBadBackendsLeaveTheRest(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	s3 := func(name, refs string) string {
		return fmt.Sprintf("apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata: {name: %s}\nspec:\n  s3:\n    bucket: bbb\n    endpointURL: http://127.0.0.1:1\n%s---\n", name, refs)
	}
	e := startEmbedded(t, map[string]string{
		"a.yaml": localYAML("good", "good") + localYAML("missing", filepath.Join(outside, "x")) +
			s3("no-keys", "") +
			s3("cluster-refs", "    accessKeyRef: {name: s, key: k}\n    secretKeyRef: {name: s, key: k}\n") +
			s3("no-env", "    accessKeyRef: {env: ARTIFACTSTORE_TEST_NOT_SET}\n    secretKeyRef: {env: ARTIFACTSTORE_TEST_NOT_SET}\n") +
			s3("no-file", "    accessKeyRef: {file: /nonexistent/key}\n    secretKeyRef: {file: /nonexistent/key}\n"),
		"p.yaml": policyYAML("x", "missing", "good"),
	})
	if err := os.Symlink(outside, filepath.Join(e.data, "link")); err != nil {
		t.Fatal(err)
	}
	e.write("b.yaml", localYAML("linked", "link/in"))
	if err := os.MkdirAll(filepath.Join(outside, "in"), 0o750); err != nil {
		t.Fatal(err)
	}
	e.goesTo("other", "good")
	for name, reason := range map[string]string{
		"missing": declared.ReasonPathRefused, "linked": declared.ReasonPathRefused, "no-keys": declared.ReasonAmbientRefused,
		"cluster-refs": declared.ReasonRefRefused, "no-env": declared.ReasonEnvNotSet, "no-file": declared.ReasonFileNotRead,
	} {
		eventually(t, func() string {
			if b := e.backend(name); b.Ready || b.Reason != reason || b.Message == "" {
				return fmt.Sprintf("%s: ready %v, %s: %s; want %s", name, b.Ready, b.Reason, b.Message, reason)
			}
			return ""
		})
	}
	if _, err := e.table.Place(placement.Request{Producer: "p", RetentionClass: "x"}); !errors.Is(err, placement.ErrNoReadyBackend) {
		t.Errorf("placed on a backend that is not ready: %v", err)
	}
}

func TestEmbeddedForeignMarker(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, map[string]string{"a.yaml": localYAML("one", "one")})
	e.goesTo("x", "one")
	if err := os.MkdirAll(filepath.Join(e.data, "other", storage.ReservedPrefix), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.data, "other", filepath.FromSlash(storage.MarkerKey)), []byte("another-log some-id"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.write("b.yaml", localYAML("other", "other"))
	eventually(t, func() string {
		if b := e.backend("other"); b.Ready || b.Reason != status.ReasonForeignMarker || b.Store != nil {
			return fmt.Sprintf("%+v", b)
		}
		return ""
	})
	e.write("p.yaml", policyYAML("x", "other", "one"))
	e.goesTo("y", "one")
}

func TestEmbeddedRefusesToStartOnNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("kind: [oh"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := Embedded{Dir: dir, Observer: observe.New(observetest.NewRegistrar(), nil, declared.Settings{}, nil), Table: routing.New(), Logger: slog.New(slog.DiscardHandler)}
	if err := run.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "a.yaml, document 1") {
		t.Errorf("%v", err)
	}
}
