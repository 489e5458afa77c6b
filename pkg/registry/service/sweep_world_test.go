package service_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// sweepWorld is one backend in a folder and the replicas of its registry.
type sweepWorld struct {
	url, folder string
	age         time.Duration
	advanced    atomic.Int64 // nanoseconds, of the registry's clock
	wrap        func(storage.Backend) storage.Backend
	store       storage.Backend
	services    []*service.Service
	tables      []*routing.Table
}

func newSweepWorld(t *testing.T, url string, age time.Duration, wrap func(storage.Backend) storage.Backend) *sweepWorld {
	t.Helper()
	w := &sweepWorld{url: url, folder: filepath.Join(t.TempDir(), "place"), age: age, wrap: wrap}
	if url == "" {
		w.url = "sqlite://" + filepath.Join(t.TempDir(), "registry.db")
	}
	w.another(t)
	return w
}

func (w *sweepWorld) now() time.Time { return time.Now().Add(time.Duration(w.advanced.Load())) }

// another starts a replica.
func (w *sweepWorld) another(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	db, err := database.Open(ctx, w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
	table := routing.New()
	service, err := service.Open(ctx, service.Options{Database: db, Placer: table, OrphanAge: w.age, Now: w.now, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() }) //nolint:errcheck // a test's
	place, err := local.Open(ctx, local.Config{Path: w.folder, Create: true}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { place.Close() }) //nolint:errcheck // a test's
	w.store = place
	if w.wrap != nil {
		w.store = w.wrap(place)
	}
	id, err := service.RegisterBackend(ctx, "one", "local", w.folder, w.store)
	if err != nil {
		t.Fatal(err)
	}
	table.Swap(routing.Snapshot{Backends: []placement.Backend{{ID: id, Name: "one", Place: w.folder, Driver: "local", Ready: true, Store: w.store}}})
	w.services, w.tables = append(w.services, service), append(w.tables, table)
}

// publish pushes one package of the files.
func (w *sweepWorld) publish(t *testing.T, version string, files map[string][]byte) registry.PackageRef {
	t.Helper()
	ref := registry.PackageRef{Producer: "p", Name: "n", Version: version}
	id := w.open(t, ref, files)
	if _, err := w.services[0].Publish(context.Background(), id, nil); err != nil {
		t.Fatal(err)
	}
	return ref
}

// open begins a session and sends the files.
func (w *sweepWorld) open(t *testing.T, ref registry.PackageRef, files map[string][]byte) string {
	t.Helper()
	upload, err := w.services[0].OpenUpload(context.Background(), registry.OpenUpload{PackageRef: ref, RetentionClass: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range files {
		if _, err := w.services[0].PutFile(context.Background(), upload.ID, path, registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
	}
	return upload.ID
}

func (w *sweepWorld) sweep(t *testing.T, dryRun bool) registry.SweepReport {
	t.Helper()
	report, err := w.services[0].SweepBackend(context.Background(), "one", dryRun, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Done || report.DryRun != dryRun {
		t.Fatalf("got %+v", report)
	}
	return report
}

// mustBeWhole reads every package back.
func (w *sweepWorld) mustBeWhole(t *testing.T, packages map[registry.PackageRef]map[string][]byte) {
	t.Helper()
	ctx := context.Background()
	for ref, files := range packages {
		p, err := w.services[0].GetPackage(ctx, ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if _, err := w.store.Head(ctx, p.ManifestDigest); err != nil {
			t.Errorf("the manifest of %s: %v", ref, err)
		}
		for path, content := range files {
			r, _, err := w.services[0].OpenBlob(ctx, digest.Of(content).SHA256, nil)
			if err != nil {
				t.Errorf("%s, %s: %v", ref, path, err)
				continue
			}
			got, err := io.ReadAll(r)
			r.Close() //nolint:errcheck // read to its end
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s, %s: read %d bytes of %d, %v", ref, path, len(got), len(content), err)
			}
		}
	}
	report, err := w.services[0].VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil)
	if err != nil || report.Missing+report.Corrupt > 0 {
		t.Errorf("verifying: %+v, %v", report, err)
	}
}

// sweepClean sweeps once more; then nothing is there but what the log names and the marker.
func (w *sweepWorld) sweepClean(t *testing.T) {
	t.Helper()
	w.sweep(t, false)
	for kind, n := range found(w.sweep(t, true)) {
		if n > 0 {
			t.Errorf("%d orphans of kind %s are left after a sweep", n, kind)
		}
	}
	known := w.sweep(t, true).Known
	if files := w.files(t); int64(len(files)) != known+1 || !slices.Contains(files, storage.MarkerKey) {
		t.Errorf("the log names %d blobs; the place holds %d files, the marker among them: %t", known, len(files), slices.Contains(files, storage.MarkerKey))
	}
}

func found(r registry.SweepReport) map[string]int64 {
	n := map[string]int64{}
	for _, c := range r.Kinds {
		n[c.Kind] = c.Found
	}
	return n
}

func (w *sweepWorld) files(t *testing.T) []string {
	t.Helper()
	var files []string
	if err := fs.WalkDir(os.DirFS(w.folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && name != storage.HeadMarkKey { // each sweep writes that
			files = append(files, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// leave puts something of each kind into the place, as old as given.
func (w *sweepWorld) leave(t *testing.T, age time.Duration) {
	t.Helper()
	content := []byte("left behind " + age.String())
	for _, key := range []string{
		storage.Key(digest.Of(content).SHA256), storage.StagingPrefix + "/" + age.String(),
		storage.ProbePrefix + "/" + storage.Key(digest.Of(content).SHA256),
	} {
		name := filepath.Join(w.folder, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o440); err != nil {
			t.Fatal(err)
		}
	}
	w.makeOld(t, age, content)
}

// makeOld sets the times of everything whose name holds the age, and of the blob.
func (w *sweepWorld) makeOld(t *testing.T, age time.Duration, contents ...[]byte) {
	t.Helper()
	then := time.Now().Add(-age)
	for _, name := range w.files(t) {
		old := strings.Contains(name, age.String())
		for _, content := range contents {
			old = old || strings.HasSuffix(name, digest.Of(content).SHA256.Hex())
		}
		if old {
			if err := os.Chtimes(filepath.Join(w.folder, name), then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
}
