package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// firstRelease is the state whose databases and backends every later one takes
// over. Its programs know no fence and no head mark.
const firstRelease = "c380a41"

// older is a world whose manager and CLI are those of another commit.
type older struct {
	*world
	folder string
}

func (w *older) start(t *testing.T) {
	t.Helper()
	config := w.control.(*files).config
	w.manager = programs.StartManagerOf(t, w.folder, []string{"--config-dir", config, "--data-dir", w.dataDir, "--local-root", w.localRoot},
		[]string{"ARTIFACTSTORE_DATABASE=" + w.database})
	w.cli = programs.CLI{Server: w.manager.URL, Folder: w.folder}
}

// written is a database and backends that the first release has written.
type written struct {
	old      older
	packages map[string]string // folder that was pushed, by name@version
}

func writtenByFirstRelease(t *testing.T, address string) *written {
	t.Helper()
	root := t.TempDir()
	w := &written{packages: map[string]string{}}
	w.old = older{&world{control: newFiles(t), database: address, dataDir: t.TempDir(), localRoot: root}, programs.Base(t, firstRelease)}
	if address == "" {
		w.old.database = "sqlite://" + filepath.Join(w.old.dataDir, "registry.db")
	}
	w.old.places = map[string]place{"folder": newFolder(t, root, "folder"), "bucket": newBucket(t)}
	for name, p := range w.old.places {
		backend(t, w.old.control, name, p.spec(t, w.old.control))
	}
	routeTo(t, w.old.control, "folder")
	w.old.start(t)
	for _, name := range []string{"folder", "bucket"} {
		w.old.waitReady(t, name)
		w.old.reroute(t, name)
		w.push(t, w.old.cli, name, "1")
		w.old.cli.Run(t, programs.ExitDone, "storage", "verify", "--backend", name)
		w.old.cli.Run(t, programs.ExitDone, "storage", "sweep", "--backend", name)
	}
	return w
}

// push publishes a small tree.
func (w *written) push(t *testing.T, cli programs.CLI, name, version string) {
	t.Helper()
	folder := tree(t, name, version)
	cli.Run(t, programs.ExitDone, "push", folder, "--producer", "e2e", "--name", name, "--version", version, "--retention-class", "test")
	w.packages[name+"@"+version] = folder
}

func tree(t *testing.T, name, version string) string {
	t.Helper()
	folder := t.TempDir()
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), fmt.Appendf(nil, "%s %s %d\n", name, version, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// readsBack pulls every package, verifies and sweeps both backends, and checks the views.
func (w *written) readsBack(t *testing.T, now *world) {
	t.Helper()
	for ref, folder := range w.packages {
		into := now.pull(t, refOf(ref))
		for i := range 3 {
			want, _ := os.ReadFile(filepath.Join(folder, fmt.Sprint(i)))
			if got, err := os.ReadFile(filepath.Join(into, fmt.Sprint(i))); err != nil || string(got) != string(want) {
				t.Errorf("%s: %q, want %q: %v", ref, got, want, err)
			}
		}
	}
	for name := range w.old.places {
		now.cli.Run(t, programs.ExitDone, "storage", "verify", "--backend", name)
		now.cli.Run(t, programs.ExitDone, "storage", "sweep", "--backend", name)
	}
	listed := programs.JSON[registry.PackagePage](t, now.cli, "list")
	if len(listed.Packages) != len(w.packages) {
		t.Errorf("%d packages are listed, %d were pushed: nothing may be lost or twice", len(listed.Packages), len(w.packages))
	}
	programs.CheckViews(t, w.old.database)
}

func refOf(ref string) registry.PackageRef {
	name, version, _ := strings.Cut(ref, "@")
	return registry.PackageRef{Producer: "e2e", Name: name, Version: version}
}

// newer starts today's manager on what is there.
func (w *written) newer(t *testing.T, dataDir string) *world {
	t.Helper()
	now := &world{control: w.old.control, places: w.old.places, database: w.old.database, dataDir: dataDir, localRoot: w.old.localRoot}
	now.start(t)
	for name := range w.old.places {
		now.waitReady(t, name)
	}
	return now
}

// A database and backends of the first release are taken over, and the first release refuses them afterwards.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := writtenByFirstRelease(t, "")
	w.old.stop(t)
	now := w.newer(t, w.old.dataDir)
	w.push(t, now.cli, "after", "1")
	w.readsBack(t, now)
	programs.Eventually(t, func() error {
		for name, p := range w.old.places {
			if keys := slices.Collect(maps.Keys(p.sizes(t))); !slices.ContainsFunc(keys, func(key string) bool { return strings.HasSuffix(key, storage.HeadMarkKey) }) {
				return fmt.Errorf("%s has no head mark: %q", name, keys)
			}
		}
		return nil
	})
	now.stop(t)
	result := programs.ExecuteOf(t.Context(), t, w.old.folder, "manager", []string{"ARTIFACTSTORE_DATABASE=" + w.old.database},
		"--listen", "127.0.0.1:0", "--config-dir", w.old.control.(*files).config, "--data-dir", w.old.dataDir)
	if result.Code == programs.ExitDone || !strings.Contains(result.Stderr, "it was written by a newer one") {
		t.Errorf("the first release has started on a newer database: %s", result)
	}
}

// Both versions serve one PostgreSQL while clients push through each. The old
// one appends until the new one writes what it does not know, and never after.
func TestUpgradeBesideTheOldOne(t *testing.T) {
	t.Parallel()
	w := writtenByFirstRelease(t, servers.Postgres(t))
	now := w.newer(t, t.TempDir())
	w.push(t, w.old.cli, "beside", "old")
	w.push(t, now.cli, "beside", "new")

	// Pushes through both go on while the fence is raised.
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		load = map[string]string{}
	)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	pushes := func(name string, cli programs.CLI) {
		for n := 0; ctx.Err() == nil; n++ {
			version := fmt.Sprint(n)
			folder := tree(t, name, version)
			if r := cli.Exec(t.Context(), t, "push", folder, "--producer", "e2e", "--name", name, "--version", version, "--retention-class", "test"); r.Code == programs.ExitDone {
				mu.Lock()
				load[name+"@"+version] = folder
				mu.Unlock()
			} else if name == "by-new" {
				t.Errorf("a push through the new one: %s", r)
			}
		}
	}
	all.Go(func() { pushes("by-old", w.old.cli) })
	all.Go(func() { pushes("by-new", now.cli) })
	time.Sleep(2 * time.Second)
	now.cli.Run(t, programs.ExitDone, "storage", "verify", "--backend", "folder") // raises the fence
	fenced := fenceOf(t, w.old.database)
	time.Sleep(2 * time.Second)
	stop()
	all.Wait()
	if fenced == 0 {
		t.Fatal("a verification has not raised the fence")
	}
	byOld := 0
	for ref, folder := range load {
		w.packages[ref] = folder
		if strings.HasPrefix(ref, "by-old@") {
			byOld++
		}
	}
	if byOld == 0 || len(load) == byOld {
		t.Errorf("%d pushes through the old one and %d through the new one: too few to show anything", byOld, len(load)-byOld)
	}
	t.Logf("%d pushes through the old one, until the fence; %d through the new one", byOld, len(load)-byOld)
	folder := tree(t, "late", "1")
	args := []string{"push", folder, "--producer", "e2e", "--name", "late", "--version", "1", "--retention-class", "test"}
	if r := w.old.cli.Exec(t.Context(), t, args...); r.Code == programs.ExitDone {
		t.Errorf("the old one has appended behind the fence: %s", r)
	}
	w.push(t, now.cli, "late", "1")
	w.readsBack(t, now)

	// What comes after this version fences it in turn, and it knows.
	raise(t, w.old.database)
	programs.Eventually(t, func() error { return answers(now.manager.URL+"/readyz", "not-ready") })
	if err := answers(now.manager.URL+"/v1/packages", "fenced"); err != nil {
		t.Error(err)
	}
}

// answers wants a 503 of this type with Retry-After.
func answers(address, kind string) error {
	answer, err := http.Get(address) //nolint:gosec,noctx // the test's own
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "/problems/"+kind) ||
		!strings.Contains(string(text), "newer version") {
		return fmt.Errorf("%s: %s, Retry-After %q, %s, %w", address, answer.Status, answer.Header.Get("Retry-After"), text, err)
	}
	return nil
}

func fenceOf(t *testing.T, address string) (fence int) {
	t.Helper()
	db, err := database.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only read
	if err := db.Read(t.Context(), func(tx database.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT fence FROM log_head").Scan(&fence)
	}); err != nil {
		t.Fatal(err)
	}
	return fence
}

// raise is what a version after this one does with the first event that this one does not know.
func raise(t *testing.T, address string) {
	t.Helper()
	db, err := database.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // what was written is committed
	log, err := eventlog.Open(t.Context(), db, nil, time.Now, eventlog.Knows(event.Level+1))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // does not fail
	if _, err := log.Append(t.Context(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
		return []eventlog.Event{{Kind: "v9.test.happened", Level: event.Level + 1}}, nil
	}); err != nil {
		t.Fatal(err)
	}
}
