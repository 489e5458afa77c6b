package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// fullFor is how long a disk stays full.
var fullFor = size.Of(time.Second, time.Minute)

// TestDatabaseFull fills the file system that the database is on while clients push
// and pull. Pushes are told why, what is stored is served as long as the database runs,
// and once there is space everything goes on by itself. What was answered is there, once.
func TestDatabaseFull(t *testing.T) {
	t.Parallel()
	if !servers.OwnMounts(t) {
		return
	}
	const mebibyte = 1 << 20
	t.Run("data of PostgreSQL", func(t *testing.T) {
		t.Parallel()
		volume, wal := servers.NewVolume(t, 48*mebibyte), servers.NewVolume(t, 128*mebibyte)
		server := servers.PostgresOn(t, volume.Folder, wal.Folder)
		f := newFull(t, volume, server.URL())
		f.volume.Fill()
		f.refuses()
		f.volume.MakeRoom()
		f.goesOn()
	})
	t.Run("log of PostgreSQL", func(t *testing.T) {
		t.Parallel()
		data, volume := servers.NewVolume(t, 128*mebibyte), servers.NewVolume(t, 16*mebibyte)
		server := servers.PostgresOn(t, data.Folder, volume.Folder)
		f := newFull(t, volume, server.URL())
		// A standby that never comes: nothing of the log can be used again.
		server.Do("SELECT pg_create_physical_replication_slot('lost', true)")
		f.volume.Fill()
		f.panics(server)
		f.volume.MakeRoom()
		server.Start()
		f.goesOn()
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		volume := servers.NewVolume(t, 16*mebibyte)
		f := newFull(t, volume, "sqlite://"+volume.Folder+"/registry.db")
		f.volume.Fill()
		f.refuses()
		f.volume.MakeRoom()
		f.goesOn()
	})
}

// full is a world whose database is on a small volume, and clients of it.
type full struct {
	*world
	t      *testing.T
	volume *servers.Volume
	load   *load
	stored registry.PackageRef
}

func newFull(t *testing.T, volume *servers.Volume, database string) *full {
	t.Helper()
	root := t.TempDir()
	f := &full{t: t, volume: volume, stored: registry.PackageRef{Producer: "e2e", Name: "full", Version: "before"},
		world: newWorld(t, newFiles(t), database, root, "local", map[string]place{"local": newFolder(t, root, "local")})}
	client := f.manager.Client(t)
	if _, err := publish(background, client, f.stored, 1); err != nil {
		t.Fatal(err)
	}
	f.load = startLoad(t, client, 4)
	return f
}

const noSpace = "the database has no space left"

// refuses wants pushes refused in words, and all else to go on, for fullFor.
func (f *full) refuses() {
	f.t.Helper()
	client := f.manager.Client(f.t)
	push := func() error {
		_, err := publish(background, client, registry.PackageRef{Producer: "e2e", Name: "full", Version: fmt.Sprint(time.Now().UnixNano())}, 1)
		return err
	}
	programs.Eventually(f.t, func() error { // what has room in its pages may go through at first
		if err := push(); !errors.Is(err, registry.ErrDatabase) || !strings.Contains(err.Error(), noSpace) {
			return fmt.Errorf("a push: %v", err)
		}
		return nil
	})
	for until := time.Now().Add(fullFor); time.Now().Before(until); {
		// What finds room in a page goes through, and proves nothing.
		if err := push(); err != nil && (!errors.Is(err, registry.ErrDatabase) || !strings.Contains(err.Error(), noSpace)) {
			f.t.Fatalf("a push to a full database: %v", err)
		}
		health, err := client.Health(background)
		if err != nil || health.Status != registry.HealthDegraded || !strings.Contains(strings.Join(health.Reasons, "\n"), noSpace) {
			f.t.Fatalf("the health is %s %q, %v", health.Status, health.Reasons, err)
		}
		if status := f.readyz(f.t); status != http.StatusOK {
			f.t.Fatalf("/readyz is %d, although everything can be read", status)
		}
		if _, err := client.GetPackage(background, f.stored); err != nil {
			f.t.Fatalf("reading: %v", err)
		}
	}
	f.wantRetryAfter()
}

// panics wants the server to end, as one does that cannot extend its log, and every
// answer to say that the database is away.
func (f *full) panics(server *servers.PostgresServer) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	go func() {
		for ctx.Err() == nil { // it fails once the log is full, and again after each recovery
			_ = server.Try(ctx, "SELECT pg_logical_emit_message(true, 'full', repeat('x', 100000))")
		}
	}()
	select {
	case <-server.Exited():
	case <-time.After(programs.Patience):
		f.t.Fatal("PostgreSQL does not end although its log is full")
	}
	client := f.manager.Client(f.t)
	for until := time.Now().Add(fullFor); time.Now().Before(until); {
		if _, err := client.GetPackage(background, f.stored); !errors.Is(err, registry.ErrDatabase) {
			f.t.Fatalf("reading without a database: %v", err)
		}
		if status := f.readyz(f.t); status != http.StatusServiceUnavailable {
			f.t.Fatalf("/readyz is %d without a database", status)
		}
	}
	f.wantRetryAfter()
}

// wantRetryAfter opens sessions until one is refused: their rows are small.
func (f *full) wantRetryAfter() {
	f.t.Helper()
	const body = `{"producer": "e2e", "name": "full", "version": "session", "retentionClass": "test"}`
	programs.Eventually(f.t, func() error {
		answer, err := http.Post(f.manager.URL+"/v1/uploads", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		defer answer.Body.Close() //nolint:errcheck // it is only read
		text, err := io.ReadAll(answer.Body)
		if answer.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("%s %s, %v", answer.Status, text, err)
		}
		if answer.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "/problems/database") {
			f.t.Errorf("%v %s", answer.Header, text)
		}
		return nil
	})
}

// goesOn wants everything to work again, and what was answered to be there.
func (f *full) goesOn() {
	f.t.Helper()
	f.load.goesOn(f.t, failoverWithin, "with space again")
	client := f.manager.Client(f.t)
	programs.Eventually(f.t, func() error {
		health, err := client.Health(background)
		if err != nil || health.Status != registry.HealthOK {
			return fmt.Errorf("the health is %s %q, %v", health.Status, health.Reasons, err)
		}
		return nil
	})
	published := f.load.stop()
	if f.load.longest > longestRequest {
		f.t.Errorf("a request took %s", f.load.longest)
	}
	f.checkOnce(f.t, published)
	f.checkViews(f.t)
	f.t.Logf("%d packages, the longest request took %s", len(published), f.load.longest.Round(time.Millisecond))
}
