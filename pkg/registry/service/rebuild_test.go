package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/test/servers"
)

// damages are done to rows of each table: one is changed, one is missing and
// one is there that should not be. They are of a producer, and of backends, that nobody else uses here.
var damages = []string{
	`UPDATE packages SET retention_class = 'x' WHERE producer = 'victim' AND version = '1'`,
	`DELETE FROM packages WHERE producer = 'victim' AND version = '2'`,
	`INSERT INTO packages SELECT 1, 'victim', 'extra', '1', manifest_sha256, 1, 'r', 'hot', '', '{}', 1, 1, 0, 'x', 'y' FROM packages WHERE producer = 'victim' AND version = '1'`,

	`UPDATE package_files SET executable = 1 - executable, producer = 'p' WHERE producer = 'victim' AND path = 'a'`,
	`DELETE FROM package_files WHERE producer = 'victim' AND path = 'b'`,
	`INSERT INTO package_files SELECT package, 9, 'extra', sha256, 0, '', producer FROM package_files WHERE producer = 'victim' AND path = 'c'`,

	`UPDATE blobs SET size = size + 1 WHERE sha256 IN (SELECT sha256 FROM package_files WHERE producer = 'victim' AND path = 'c')`,
	`DELETE FROM blobs WHERE sha256 IN (SELECT manifest_sha256 FROM packages WHERE producer = 'victim' AND version = '3')`,
	`INSERT INTO blobs SELECT blake3, sha256, 7 FROM blobs WHERE sha256 IN (SELECT manifest_sha256 FROM packages WHERE producer = 'victim' AND version = '1')`,

	`UPDATE storage_locations SET state = 'failed', reason = 'corrupt' WHERE sha256 IN (SELECT sha256 FROM package_files WHERE producer = 'victim' AND path = 'c')`,
	`DELETE FROM storage_locations WHERE sha256 IN (SELECT manifest_sha256 FROM packages WHERE producer = 'victim' AND version = '1')`,
	`INSERT INTO storage_locations SELECT 'extra', sha256, 'live', '', '', 1, 0, 0 FROM storage_locations WHERE sha256 IN (SELECT sha256 FROM package_files WHERE producer = 'victim' AND path = 'c')`,

	`UPDATE backends SET place = 'elsewhere' WHERE name = 'victim 1'`,
	`DELETE FROM backends WHERE name = 'victim 2'`,
	`INSERT INTO backends VALUES ('extra', 'extra', 'local', 'nowhere', 999999)`,

	`UPDATE abandoned SET position = position + 1000 WHERE backend_id = (SELECT id FROM backends WHERE name = 'victim 1')`,
	`DELETE FROM abandoned WHERE backend_id = (SELECT id FROM backends WHERE name = 'victim 3')`,
	`DELETE FROM abandonments WHERE backend_id = (SELECT id FROM backends WHERE name = 'victim 3')`,
	`UPDATE location_counts SET locations = locations + 1, unchecked = unchecked + 1, bytes = 0`,
	`INSERT INTO abandoned VALUES ('extra', 999999)`,
}

// TestRebuildBesideEverything damages rows of each table and rebuilds all,
// while others push, read and follow: afterwards the tables are what the log
// says, and nobody has met an error or half of anything.
func TestRebuildBesideEverything(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "registry.db") },
		"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rebuildBesideEverything(t, url(t))
		})
	}
}

func rebuildBesideEverything(t *testing.T, url string) {
	ctx := context.Background()
	w := newSweepWorld(t, url, time.Hour, nil)
	w.another(t)
	other, err := database.Open(ctx, url) // as another process has it
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	views := view.New(other)
	victims(t, w, other)
	first := w.publish(t, "first", map[string][]byte{"a": []byte("aaa"), "b": []byte("bbb")})

	b := &besides{t: t, w: w, other: other, first: first}
	b.start()
	if err := other.Write(ctx, func(tx database.Tx) error {
		for _, damage := range damages {
			if result, err := tx.ExecContext(ctx, damage); err != nil {
				return fmt.Errorf("%s: %w", damage, err)
			} else if n, _ := result.RowsAffected(); n == 0 {
				return fmt.Errorf("%s: nothing was damaged", damage)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := views.Check(ctx, view.Progress{}); !errors.Is(err, view.ErrDiffers) {
		t.Errorf("the check of damaged tables says %v", err)
	}
	const least = 5 // of rebuilds, and of pushes
	for n := 0; n < least || b.pushed.Load() < least; n++ {
		began := time.Now()
		if _, err := views.Rebuild(ctx, view.Progress{Busy: func(err error) { t.Log(err) }}); err != nil {
			t.Fatal(err)
		}
		t.Logf("rebuilt in %s", time.Since(began))
		if n == 0 {
			b.until(b.verify) // not before what is damaged is right again
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.end()
	b.checkedSurvives(views)
	report, err := views.Check(ctx, view.Progress{})
	if err != nil {
		t.Errorf("after the rebuild: %v", err)
	}
	if want := int(b.pushed.Load()) + 1 + 3; report.Rows["packages"] != want {
		t.Errorf("%d packages, want %d: %+v", report.Rows["packages"], want, report)
	}
	found, err := w.services[0].Findings(ctx, b.backendID())
	if err != nil || found.Failed != 0 {
		t.Errorf("findings were counted in the tables before: %+v, %v", found, err)
	}
	t.Logf("%d packages pushed, %d reads, %d snapshots, %d events followed", b.pushed.Load(), b.reads, b.snapshots.Load(), b.followed)
}

// victims are what is damaged.
func victims(t *testing.T, w *sweepWorld, db *database.DB) {
	t.Helper()
	ctx := context.Background()
	log, err := eventlog.Open(ctx, db, view.New(db).Apply, time.Now, eventlog.Knows(event.Level))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Append(ctx, func(context.Context, database.Tx) ([]eventlog.Event, error) {
		var events []eventlog.Event
		for i := range 4 {
			id, name := uuid.NewString(), fmt.Sprintf("victim %d", i)
			for _, payload := range []event.Payload{
				event.BackendRegistered{BackendID: id, Name: name, Driver: "local", Place: "/" + name},
				event.BackendAbandoned{BackendID: id, Name: name},
			} {
				e, err := event.New("test", payload)
				if err != nil {
					return nil, err
				}
				events = append(events, e)
			}
		}
		return events, nil
	}); err != nil {
		t.Fatal(err)
	}
	for version := range 3 {
		ref := registry.PackageRef{Producer: "victim", Name: "n", Version: fmt.Sprint(version + 1)}
		files := map[string][]byte{}
		for _, path := range []string{"a", "b", "c"} {
			files[path] = fmt.Appendf(nil, "victim %s of %d", path, version)
		}
		id := w.open(t, ref, files)
		for path, content := range files {
			if _, err := w.services[0].PutFile(ctx, id, path, registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.services[0].Publish(ctx, id, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// besides is what goes on beside a rebuild: pushes through one replica, reads
// through the other, a follower, and someone who looks at the tables themselves.
type besides struct {
	t     *testing.T
	w     *sweepWorld
	other *database.DB
	first registry.PackageRef

	ctx               context.Context
	stop              context.CancelFunc
	running           sync.WaitGroup
	reads, followed   int
	pushed, snapshots atomic.Int64
}

func (b *besides) backendID() string { return b.w.tables[0].Backends()[0].ID }

func (b *besides) start() {
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.until(b.push)
	b.until(b.read)
	b.until(b.look)
	b.until(b.look)
	b.running.Go(func() {
		last := uint64(0)
		err := b.w.services[1].FollowEvents(b.ctx, registry.EventQuery{}, func(e registry.Event) error {
			if e.Position != last+1 {
				return fmt.Errorf("after event %d came %d", last, e.Position)
			}
			last, b.followed = e.Position, b.followed+1
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			b.t.Error(err)
		}
	})
}

func (b *besides) until(step func(ctx context.Context) error) {
	b.running.Go(func() {
		for b.ctx.Err() == nil {
			if err := step(context.Background()); err != nil {
				b.t.Error(err)
				return
			}
		}
	})
}

func (b *besides) verify(ctx context.Context) error {
	report, err := b.w.services[1].VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil)
	if err == nil && report.Verified != report.CheckedObjects {
		err = fmt.Errorf("a verification found %+v", report)
	}
	return err
}

// checkedSurvives: when each blob was last found right is in no event, and yet the same after a rebuild.
func (b *besides) checkedSurvives(views *view.Views) {
	b.t.Helper()
	ctx := context.Background()
	if err := b.verify(ctx); err != nil {
		b.t.Error(err)
	}
	list := func() map[digest.Digest]time.Time {
		page, err := b.w.services[0].ListLocations(ctx, "one", registry.LocationQuery{})
		if err != nil {
			b.t.Fatal(err)
		}
		all := map[digest.Digest]time.Time{}
		for _, l := range page.Locations {
			if all[l.Digests.SHA256] = l.Verified; l.Verified.IsZero() {
				b.t.Errorf("%s was never looked at", l.Digests.SHA256)
			}
		}
		return all
	}
	before := list()
	if _, err := views.Rebuild(ctx, view.Progress{}); err != nil {
		b.t.Fatal(err)
	}
	if after := list(); !maps.Equal(before, after) || len(before) < 20 {
		b.t.Errorf("%d blobs were checked at other times than before the rebuild:\n%v\n%v", len(before), before, after)
	}
}

func (b *besides) end() {
	b.stop()
	b.running.Wait()
}

func (b *besides) push(ctx context.Context) error {
	version, s := fmt.Sprint("v", b.pushed.Load()), b.w.services[0]
	upload, err := s.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: version}, RetentionClass: "r"})
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	for path, content := range map[string]string{"own": version, "shared": "shared"} {
		if _, err := s.PutFile(ctx, upload.ID, path, registry.Content{Reader: strings.NewReader(content), Size: int64(len(content))}); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	published, err := s.Publish(ctx, upload.ID, nil)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	b.pushed.Add(1)
	if p, err := s.GetPackage(ctx, published.PackageRef); err != nil || p.Files != 2 {
		return fmt.Errorf("what was just published: %+v, %w", p, err)
	}
	return nil
}

func (b *besides) read(ctx context.Context) error {
	s := b.w.services[1]
	b.reads++
	time.Sleep(time.Millisecond) // so that the others have their turn
	if p, err := s.GetPackage(ctx, b.first); err != nil || p.Files != 2 || p.Abandoned != 0 {
		return fmt.Errorf("reading: %+v, %w", p, err)
	}
	body, _, err := s.OpenBlob(ctx, digest.Of([]byte("aaa")).SHA256, nil)
	if err != nil {
		return fmt.Errorf("opening a blob: %w", err)
	}
	content, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil || string(content) != "aaa" {
		return fmt.Errorf("reading a blob: %q, %w", content, err)
	}
	page, err := s.ListPackages(ctx, registry.PackageFilter{Producer: "p"})
	if err != nil || !slices.ContainsFunc(page.Packages, func(p registry.Package) bool { return p.PackageRef == b.first }) {
		return fmt.Errorf("listing: %d packages, %w", len(page.Packages), err)
	}
	_, err = s.Findings(ctx, b.backendID())
	return err
}

// look compares the tables with the log in one snapshot, which it has for a
// while before it looks at the tables for the first time.
func (b *besides) look(ctx context.Context) error {
	var events, packages, files, rows, blobs, located int
	err := b.other.Read(ctx, func(tx database.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM events WHERE kind = 'v1.package.published' AND subject LIKE 'p/%'`).Scan(&events); err != nil {
			return err
		}
		time.Sleep(rand.N(50 * time.Millisecond))
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(files), 0) FROM packages WHERE producer = 'p'`).Scan(&packages, &files); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM package_files f JOIN packages p ON p.position = f.package WHERE p.producer = 'p'`).Scan(&rows); err != nil {
			return err
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		return tx.QueryRowContext(ctx, `SELECT COUNT(*), COUNT(l.backend_id) FROM packages p JOIN blobs b ON b.sha256 = p.manifest_sha256
			LEFT JOIN storage_locations l ON l.sha256 = b.sha256 AND l.state = 'live' AND l.backend_id = p.backend_id WHERE p.producer = 'p'`).Scan(&blobs, &located)
	})
	if err == nil && (packages != events || rows != files || blobs != events || located != events) {
		err = fmt.Errorf("half a view: %d publications in the log, %d in the table, %d files and %d rows of them, %d blobs of manifests in %d places",
			events, packages, files, rows, blobs, located)
	}
	b.snapshots.Add(1)
	return err
}
