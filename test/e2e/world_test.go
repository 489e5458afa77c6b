// Package e2e tests the whole as a user has it: manager and CLI as processes,
// on real servers, in a cluster and without one.
package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/programs"
)

// world is one manager with its declarations, its backends' places and a CLI.
type world struct {
	control control
	places  map[string]place // by backend
	manager *programs.Manager
	cli     programs.CLI

	database, dataDir, localRoot string
}

// newWorld declares the places as backends and starts a manager. Everything is routed to first.
func newWorld(t *testing.T, c control, database, localRoot, first string, places map[string]place) *world {
	t.Helper()
	w := &world{control: c, places: places, database: database, dataDir: t.TempDir(), localRoot: localRoot}
	for name, p := range places {
		backend(t, c, name, p.spec(t, c))
	}
	routeTo(t, c, first)
	w.start(t)
	for name := range places {
		w.waitReady(t, name)
	}
	return w
}

func (w *world) start(t *testing.T) {
	t.Helper()
	w.manager = w.control.start(t, w.database, w.dataDir, w.localRoot)
	w.cli = programs.CLI{Server: w.manager.URL, Token: w.manager.Token}
}

func (w *world) stop(t *testing.T) {
	t.Helper()
	if err := w.manager.Stop(); err != nil {
		t.Fatalf("%v\n%s", err, w.manager.Tail())
	}
}

type pushed struct {
	registry.Publication
	SentFiles   int `json:"sentFiles"`
	ReusedFiles int `json:"reusedFiles"`
}

// push publishes a folder; ref is name@version of the producer "e2e".
func (w *world) push(t *testing.T, folder, name, version string) pushed {
	t.Helper()
	args := []string{"push", folder, "--producer", "e2e", "--name", name, "--version", version, "--retention-class", "test"}
	return programs.JSON[pushed](t, w.cli, append(args, programs.IncludeSecrets(t, folder)...)...)
}

// pull fetches a package and returns the folder that it is in.
func (w *world) pull(t *testing.T, ref registry.PackageRef) string {
	t.Helper()
	into := t.TempDir()
	w.cli.Run(t, programs.ExitDone, "pull", ref.String(), "-d", into)
	return into
}

func (w *world) backends(t *testing.T) map[string]registry.BackendStatus {
	t.Helper()
	list := programs.JSON[struct{ Backends []registry.BackendStatus }](t, w.cli, "backends")
	byName := map[string]registry.BackendStatus{}
	for _, b := range list.Backends {
		byName[b.Name] = b
	}
	return byName
}

func (w *world) waitReady(t *testing.T, backend string) {
	t.Helper()
	programs.Eventually(t, func() error {
		if b := w.backends(t)[backend]; !b.Ready || b.ID == "" {
			return fmt.Errorf("backend %s is not ready: %s: %s", backend, b.Reason, b.Message)
		}
		return nil
	})
}

// reroute changes the RoutingPolicy and waits until packages go to the backend.
func (w *world) reroute(t *testing.T, backend string) {
	t.Helper()
	routeTo(t, w.control, backend)
	programs.Eventually(t, func() error {
		now := programs.JSON[placement.Explanation](t, w.cli, "routing", "explain", "--producer", "e2e", "--retention-class", "test")
		if now.Backend != backend {
			return fmt.Errorf("packages go to %q (%s), want %s", now.Backend, now.Reason, backend)
		}
		return nil
	})
}

// checkEvent wants the publication's event at its position, with this backend and no other.
func (w *world) checkEvent(t *testing.T, p pushed, backendID string) {
	t.Helper()
	page, err := w.manager.Client(t).ReadEvents(background, registry.EventQuery{After: p.Position - 1, Limit: 1})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("event %d: %v, %v", p.Position, page, err)
	}
	e := page.Events[0]
	payload := decodeJSON[struct {
		Backends       []string      `json:"backends"`
		ManifestDigest digest.Digest `json:"manifestDigest"`
	}](t, e.Payload)
	if e.Kind != event.KindPackagePublished || e.Subject != p.PackageRef.String() || !slices.Equal(payload.Backends, []string{backendID}) ||
		payload.ManifestDigest != p.ManifestDigest {
		t.Fatalf("event %d is %s of %s: %s; want %s of %s in %s", p.Position, e.Kind, e.Subject, e.Payload, event.KindPackagePublished, p.PackageRef, backendID)
	}
}

// blobs asks the database itself where the log says a package's blobs are, its
// manifest among them: size by digest. Each must be live in the backend, and
// there must be one path for each file that was pushed.
func (w *world) blobs(t *testing.T, p pushed, backendID string) map[digest.Digest]int64 {
	t.Helper()
	db, err := database.Open(background, w.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only read
	all, paths := map[digest.Digest]int64{}, 0
	err = db.Read(background, func(tx database.Tx) error {
		return eachRow(tx, `
			SELECT f.path, f.sha256, b.size, COALESCE(l.state, 'none')
			FROM packages p JOIN package_files f ON f.package = p.position JOIN blobs b ON b.sha256 = f.sha256
			LEFT JOIN storage_locations l ON l.sha256 = f.sha256 AND l.backend_id = $2
			WHERE p.position = $1
			UNION ALL
			SELECT '', p.manifest_sha256, p.manifest_size, COALESCE(l.state, 'none')
			FROM packages p LEFT JOIN storage_locations l ON l.sha256 = p.manifest_sha256 AND l.backend_id = $2
			WHERE p.position = $1`, []any{int64(p.Position), backendID}, //nolint:gosec // far below 2^63
			func(path string, sum []byte, size int64, state string) error {
				if state != "live" {
					return fmt.Errorf("%q has no live location in the backend, but %s", path, state)
				}
				name, err := digest.FromBytes(digest.SHA256, sum)
				all[name] = size
				paths++
				return err
			})
	})
	if err != nil {
		t.Fatalf("%s: %v", p.PackageRef, err)
	}
	if paths != p.Files+1 {
		t.Fatalf("%s: the database knows %d files, %d were pushed", p.PackageRef, paths-1, p.Files)
	}
	return all
}

func eachRow(tx database.Tx, query string, args []any, each func(path string, sum []byte, size int64, state string) error) error {
	rows, err := tx.QueryContext(background, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var (
			path, state string
			sum         []byte
			size        int64
		)
		if err := rows.Scan(&path, &sum, &size, &state); err != nil {
			return err
		}
		if err := each(path, sum, size, state); err != nil {
			return err
		}
	}
	return rows.Err()
}

// holds wants an object of the right size in the place for each blob.
func holds(t *testing.T, p place, blobs map[digest.Digest]int64) {
	t.Helper()
	there := p.sizes(t)
	for name, size := range blobs {
		if got, found := there[storage.Key(name)]; !found || got != size {
			t.Fatalf("%s: in the place is an object of %d bytes (%v), want %d", name, got, found, size)
		}
	}
}

// lacks wants none of the blobs in the place.
func lacks(t *testing.T, p place, blobs map[digest.Digest]int64) {
	t.Helper()
	there := p.sizes(t)
	for name := range blobs {
		if _, found := there[storage.Key(name)]; found {
			t.Fatalf("%s is in a place that it was not sent to", name)
		}
	}
}

// checkViews replays the log; it runs beside the live manager.
func (w *world) checkViews(t *testing.T) {
	t.Helper()
	programs.CheckViews(t, w.database)
}

// waitCondition waits until a condition has status and reason. Where conditions
// are written nowhere, the list of backends tells of Ready and Verified.
func (w *world) waitCondition(t *testing.T, backend, kind string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	programs.Eventually(t, func() error {
		conditions := w.control.conditions(t, backend)
		if conditions == nil {
			return w.listed(t, backend, kind, status, reason)
		}
		c := meta.FindStatusCondition(conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("backend %s: want %s=%s (%s), conditions are %+v", backend, kind, status, reason, conditions)
		}
		if status != metav1.ConditionTrue && c.Message == "" {
			return fmt.Errorf("backend %s: %s says nothing in words", backend, kind)
		}
		return nil
	})
}

func (w *world) listed(t *testing.T, backend, kind string, status metav1.ConditionStatus, reason string) error {
	t.Helper()
	all := w.backends(t)
	b, found := all[backend]
	switch {
	case !found:
		return fmt.Errorf("backend %s is not listed, only %v", backend, slices.Sorted(maps.Keys(all)))
	case kind == "Verified" && b.Verified != string(status):
		return fmt.Errorf("backend %s: verified %s, want %s", backend, b.Verified, status)
	case kind != "Verified" && (b.Ready != (status == metav1.ConditionTrue) || b.Reason != reason || b.Message == ""):
		return fmt.Errorf("backend %s: ready %v, reason %q, message %q, want %s (%s)", backend, b.Ready, b.Reason, b.Message, status, reason)
	}
	return nil
}

// run is the CLI's outcome whatever its code.
func (w *world) run(t *testing.T, args ...string) programs.Result {
	t.Helper()
	return w.cli.Exec(context.Background(), t, args...)
}

func placementOf(retentionClass string) placement.Request {
	return placement.Request{Producer: "e2e", RetentionClass: retentionClass}
}
