package service_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Without a word of the operator nothing goes that is not a day old.
func TestSweepWaitsADay(t *testing.T) {
	t.Parallel()
	if registry.OrphanAge != 24*time.Hour || registry.MaxPutTime >= registry.OrphanAge {
		t.Errorf("an orphan is %s old, a Put lasts %s at most", registry.OrphanAge, registry.MaxPutTime)
	}
	w := newSweepWorld(t, "", 0, nil)
	w.leave(t, 24*time.Hour-time.Minute)
	w.leave(t, 24*time.Hour+time.Minute)
	before := len(w.files(t))
	for _, c := range w.sweep(t, true).Kinds {
		if c.Kind != "upload" && (c.Found != 2 || c.Due != 1 || c.TooYoung != 1 || c.Removed != 0) {
			t.Errorf("a dry run: %+v", c)
		}
	}
	if now := len(w.files(t)); now != before {
		t.Errorf("a dry run left %d files of %d", now, before)
	}
	report := w.sweep(t, false)
	for _, c := range report.Kinds {
		if c.Kind != "upload" && (c.Found != 2 || c.Removed != 1 || c.TooYoung != 1 || c.RemovedBytes != c.DueBytes || c.FoundBytes <= c.DueBytes) {
			t.Errorf("%+v", c)
		}
	}
	if now := len(w.files(t)); now != before-3 {
		t.Errorf("%d files are left of %d, three were due", now, before)
	}
	if len(report.Orphans) != 6 || report.MinAgeSeconds != 86400 {
		t.Errorf("got %+v", report)
	}
}

// What the log names or a session has stays, however old.
func TestSweepKeepsWhatIsClaimed(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "", 0, nil)
	ctx, service := context.Background(), w.services[0]
	published, sent, declared, failed := []byte("published"), []byte("sent"), []byte("declared"), []byte("failed")
	ref := w.publish(t, "1", map[string][]byte{"a": published, "b": failed})
	if err := w.store.Delete(ctx, digest.Of(failed).SHA256); err != nil {
		t.Fatal(err)
	}
	if report, err := service.VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil); err != nil || report.Missing != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	session := w.open(t, registry.PackageRef{Producer: "p", Name: "open", Version: "1"}, map[string][]byte{"a": sent})
	size := int64(len(declared))
	if _, err := service.DeclareFiles(ctx, session, []registry.FileDeclaration{{Path: "b", Size: &size, Digests: digest.Of(declared)}}); err != nil {
		t.Fatal(err)
	}
	half := registry.Piece{Content: registry.Content{Reader: strings.NewReader("half"), Size: 4}, Length: storage.UnknownSize}
	if _, err := service.AppendFile(ctx, session, "c", half); err != nil {
		t.Fatal(err)
	}
	// The declared one was left by an upload that broke off; the failed one is brought back by hand.
	for _, content := range [][]byte{declared, failed} {
		if _, err := w.store.Put(ctx, storage.Source{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := service.GetPackage(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := service.GetManifest(ctx, p.ManifestDigest)
	if err != nil {
		t.Fatal(err)
	}
	w.makeOld(t, 48*time.Hour, published, sent, declared, failed, []byte("half"), manifest)
	report := w.sweep(t, false)
	if blobs := report.Kinds[0]; report.Known != 3 || blobs.Found != 3 || blobs.Claimed != 3 || blobs.Removed != 0 {
		t.Errorf("known %d, %+v", report.Known, blobs)
	}
	// Once the session is given up, its blobs are nobody's.
	if err := service.AbandonUpload(ctx, session); err != nil {
		t.Fatal(err)
	}
	if blobs := w.sweep(t, false).Kinds[0]; blobs.Removed != 3 {
		t.Errorf("after the session was abandoned: %+v", blobs)
	}
	w.sweepClean(t)
}

// Nothing is written to a read-only backend, not even to find out its time.
func TestSweepReadOnly(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	w := newSweepWorld(t, "", 0, func(b storage.Backend) storage.Backend { return askedNow{b, &asked} })
	w.leave(t, 48*time.Hour)
	backends := w.tables[0].Backends()
	backends[0].ReadOnly = true
	w.tables[0].Swap(routing.Snapshot{Backends: backends})
	before := w.files(t)
	for _, dryRun := range []bool{true, false} {
		_, err := w.services[0].SweepBackend(context.Background(), "one", dryRun, nil)
		if conflict := (*registry.ConflictError)(nil); !errors.As(err, &conflict) || !strings.Contains(err.Error(), "one is declared read-only") {
			t.Errorf("dry run %v: %v", dryRun, err)
		}
	}
	if after := w.files(t); asked.Load() != 0 || !slices.Equal(after, before) {
		t.Errorf("asked for the time %d times; there were %q, there are %q", asked.Load(), before, after)
	}
}

// askedNow counts what writes to find out the time.
type askedNow struct {
	storage.Backend
	asked *atomic.Int64
}

func (a askedNow) Now(ctx context.Context) (time.Time, error) {
	a.asked.Add(1)
	return a.Backend.Now(ctx)
}

// A place that is not this backend's is not touched, and the error says which it is and whose.
func TestSweepTouchesNoOtherPlace(t *testing.T) {
	t.Parallel()
	kinds := map[string]error{"no marker": registrar.ErrNoMarker, "a foreign marker": registrar.ErrForeignMarker, "a broken marker": registrar.ErrForeignMarker}
	words := map[string]string{"no marker": " answers, but .artifactstore/identity is missing", "a foreign marker": " belongs to the log ", "a broken marker": " is not the identity of a backend"}
	for name, change := range map[string]func(t *testing.T, marker string){
		"no marker": func(t *testing.T, marker string) {
			if err := os.Remove(marker); err != nil {
				t.Fatal(err)
			}
		},
		"a foreign marker": func(t *testing.T, marker string) {
			data, err := os.ReadFile(marker)
			if err != nil {
				t.Fatal(err)
			}
			i := bytes.Index(data, []byte(`"logId": "`)) + len(`"logId": "`)
			data[i] ^= 1
			if err := os.Remove(marker); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(marker, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a broken marker": func(t *testing.T, marker string) {
			if err := os.Remove(marker); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(marker, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, during := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " before", true: " during"}[during], func(t *testing.T) {
				t.Parallel()
				w := newSweepWorld(t, "", 0, nil)
				w.leave(t, 48*time.Hour)
				marker := filepath.Join(w.folder, filepath.FromSlash(storage.MarkerKey))
				if !during {
					change(t, marker)
				}
				before := w.files(t)
				var once sync.Once
				report, err := w.services[0].SweepBackend(context.Background(), "one", false, func(registry.SweepReport) {
					if during {
						once.Do(func() { change(t, marker); before = w.files(t) })
					}
				})
				if !errors.Is(err, kinds[name]) || report.Done || report.Error == "" {
					t.Errorf("got %+v, %v", report, err)
				}
				if said := err.Error(); !strings.Contains(said, words[name]) || !strings.Contains(said, "one ("+w.folder+")") {
					t.Errorf("the error says %q", said)
				}
				// A verification says the same.
				if _, verifying := w.services[0].VerifyBackend(context.Background(), "one", registry.VerifyOptions{}, nil); verifying == nil || verifying.Error() != err.Error() {
					t.Errorf("a verification: %v", verifying)
				}
				if after := w.files(t); !slices.Equal(after, before) {
					t.Errorf("there were %q, there are %q", before, after)
				}
			})
		}
	}
}

// untold is a place that tells no time of what it holds, in one of two ways.
type untold struct {
	storage.Backend
	at time.Time
}

func (u untold) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range u.Backend.List(ctx) {
			info.Modified = u.at
			if !yield(info, err) {
				return
			}
		}
	}
}

func (u untold) Orphans(ctx context.Context) iter.Seq2[storage.Orphan, error] {
	return func(yield func(storage.Orphan, error) bool) {
		for o, err := range u.Backend.Orphans(ctx) {
			o.Modified = u.at
			if !yield(o, err) {
				return
			}
		}
	}
}

// untoldByHead is one that tells it in lists alone.
type untoldByHead struct{ storage.Backend }

func (u untoldByHead) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	info, err := u.Backend.Head(ctx, name)
	info.Modified = time.Time{}
	return info, err
}

// What has no time is never old: it stays, and the report says why.
func TestSweepWithoutTimes(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(storage.Backend) storage.Backend{
		"none": func(b storage.Backend) storage.Backend { return untold{b, time.Time{}} },
		"1970": func(b storage.Backend) storage.Backend { return untold{b, time.Unix(0, 0)} },
		"head": func(b storage.Backend) storage.Backend { return untoldByHead{b} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, "", 0, wrap)
			w.leave(t, 48*time.Hour)
			report := w.sweep(t, false)
			if blobs := report.Kinds[0]; blobs.Found != 1 || blobs.TooYoung != 1 || blobs.Removed != 0 {
				t.Errorf("%+v", blobs)
			}
			if name == "head" {
				return
			}
			for _, c := range report.Kinds {
				if c.Kind != "upload" && (c.Found != 1 || c.TooYoung != 1 || c.Removed != 0) {
					t.Errorf("%+v", c)
				}
			}
			for _, o := range report.Orphans {
				if !o.Modified.IsZero() || o.Outcome != "tooYoung" {
					t.Errorf("%+v", o)
				}
			}
			if left := w.files(t); len(left) != 4 {
				t.Errorf("there is %q", left)
			}
		})
	}
}

// partial is a place of which some parts cannot be listed.
type partial struct{ storage.Backend }

var errPart = errors.New("list sha256/00/00: permission denied")

func (p *partial) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if !yield(storage.Info{}, errPart) {
			return
		}
		p.Backend.List(ctx)(yield)
	}
}

func (p *partial) Orphans(ctx context.Context) iter.Seq2[storage.Orphan, error] {
	return func(yield func(storage.Orphan, error) bool) {
		if !yield(storage.Orphan{}, errors.New("another")) {
			return
		}
		p.Backend.Orphans(ctx)(yield)
	}
}

// TestSweepOfPartOfAPlace: what cannot be listed keeps a sweep from nothing else, and is told.
func TestSweepOfPartOfAPlace(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "", time.Hour, func(b storage.Backend) storage.Backend { return &partial{b} })
	kept := w.publish(t, "1", map[string][]byte{"a": []byte("a")})
	if _, err := w.store.Put(t.Context(), storage.Source{Reader: strings.NewReader("orphan"), Size: 6}); err != nil {
		t.Fatal(err)
	}
	staged := filepath.Join(w.folder, filepath.FromSlash(storage.StagingPrefix), "left")
	if err := os.WriteFile(staged, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{staged, filepath.Join(w.folder, filepath.FromSlash(storage.Key(digest.Of([]byte("orphan")).SHA256)))} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	report, err := w.services[0].SweepBackend(t.Context(), "one", false, nil)
	if !errors.Is(err, errPart) || report.Done || report.Error != "2 parts of one could not be listed, the first: "+errPart.Error() {
		t.Errorf("%v, %+v", err, report)
	}
	if report.Kinds[0].Removed != 1 || report.Kinds[1].Removed != 1 || report.Known != 2 {
		t.Errorf("%+v", report)
	}
	w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{kept: {"a": []byte("a")}})
}
