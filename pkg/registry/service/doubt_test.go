package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// picky is a place that does not let some objects be read.
type picky struct {
	storage.Backend
	mu      sync.Mutex
	refuse  map[digest.Digest]error
	away    error         // of the marker
	wait    chan struct{} // if not nil, reads wait for it, whatever their context says
	waits   sync.Once     // closes waiting
	waiting chan struct{}
}

func (p *picky) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	p.mu.Lock()
	err, wait := p.refuse[name], p.wait
	p.mu.Unlock()
	if wait != nil {
		p.waits.Do(func() { close(p.waiting) })
		<-wait
	}
	if err != nil {
		return nil, storage.Info{}, err
	}
	return p.Backend.Get(ctx, name, rng)
}

func (p *picky) ReadMarker(ctx context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away != nil {
		return nil, p.away
	}
	return p.Backend.ReadMarker(ctx)
}

func (p *picky) set(change func(p *picky)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// onBothPicky runs a test in a world whose place is picky.
func onBothPicky(t *testing.T, test func(t *testing.T, w *sweepWorld, place *picky)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" }, "postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := &picky{refuse: map[digest.Digest]error{}, waiting: make(chan struct{})}
			test(t, newSweepWorld(t, url(t), time.Hour, func(b storage.Backend) storage.Backend { place.Backend = b; return place }), place)
		})
	}
}

func findings(t *testing.T, w *sweepWorld) registrar.Findings {
	t.Helper()
	status, err := w.services[0].GetBackend(context.Background(), "one")
	if err != nil {
		t.Fatal(err)
	}
	return status.Findings
}

// wanted reports whether a push of the content has to send it.
func wanted(t *testing.T, w *sweepWorld, version, content string) bool {
	t.Helper()
	ctx := context.Background()
	upload, err := w.services[0].OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: version}, RetentionClass: "r"})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(content))
	declared, err := w.services[0].DeclareFiles(ctx, upload.ID, []registry.FileDeclaration{{Path: "a", Size: &size, Digests: digest.Of([]byte(content))}})
	if err != nil {
		t.Fatal(err)
	}
	return len(declared.Send) > 0
}

func healthReasons(t *testing.T, w *sweepWorld) string {
	t.Helper()
	health, err := w.services[0].Health(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(health.Reasons, "\n")
}

// TestUnreadable: objects that cannot be read are findings, and do not keep a
// verification from the rest.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
		ctx, s := context.Background(), w.services[0]
		const unreadable = 25
		files := map[string][]byte{}
		for i := range 30 {
			content := fmt.Appendf(nil, "content %d", i)
			files[fmt.Sprint(i)] = content
			if i < unreadable {
				place.refuse[digest.Of(content).SHA256] = errors.New("permission denied")
			}
		}
		w.publish(t, "1", files)
		published := time.Now()
		damaged := filepath.Join(w.folder, filepath.FromSlash(storage.Key(digest.Of(files["29"]).SHA256)))
		if err := errors.Join(os.Chmod(damaged, 0o600), os.WriteFile(damaged, []byte("contenT 29"), 0o600)); err != nil {
			t.Fatal(err)
		}
		for run := range 2 {
			w.advanced.Add(int64(time.Minute))
			report, err := s.VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil)
			if err != nil || !report.Done || report.Unreachable != unreadable || report.Corrupt != 1 || report.Verified != 5 { // with the manifest
				t.Fatalf("run %d: %+v, %v", run, report, err)
			}
		}
		f := findings(t, w)
		if f.Unreadable != unreadable || f.Corrupt != 1 || f.Failed != 1 || f.Live != 30 || f.Suspect != 0 {
			t.Errorf("%+v", f)
		}
		if f.WaitingSince.IsZero() || f.WaitingSince.After(published) || !f.OldestVerified.IsZero() {
			t.Errorf("%+v: what was never read counts as verified", f)
		}
		if said := healthReasons(t, w); !strings.Contains(said, "25 objects could not be read") {
			t.Errorf("health says %q", said)
		}
		if !wanted(t, w, "2", "content 3") || wanted(t, w, "3", "content 27") {
			t.Error("what cannot be read is offered for reuse, or what can be is not")
		}
		page := list(t, w)
		for i, location := range page.Locations {
			if refused := place.refuse[location.Digests.SHA256] != nil; refused != (i >= len(page.Locations)-unreadable) {
				t.Errorf("%d of %d: unreadable is %t, and these come last", i, len(page.Locations), refused)
			}
		}
		// The place lets them be read again: after an hour they are tried, without a run.
		place.set(func(p *picky) { clear(p.refuse) })
		if err := s.LookAtDoubts(ctx); err != nil || findings(t, w).Unreadable != unreadable {
			t.Errorf("%+v, %v: it is too early", findings(t, w), err)
		}
		// What is pushed again is tried at once.
		w.publish(t, "again", map[string][]byte{"3": files["3"]})
		if err := s.LookAtDoubts(ctx); err != nil || findings(t, w).Unreadable != unreadable-1 {
			t.Errorf("%+v, %v: one was stored again", findings(t, w), err)
		}
		w.advanced.Add(int64(2 * time.Hour))
		if err := s.LookAtDoubts(ctx); err != nil {
			t.Fatal(err)
		}
		if f := findings(t, w); f.Unreadable != 0 || f.Live != 31 || f.Failed != 1 {
			t.Errorf("%+v", f)
		}
		if wanted(t, w, "4", "content 3") {
			t.Error("what was read again is not offered for reuse")
		}
	})
}

// TestUnreadablePlace: where the marker cannot be read either, nothing is said of blobs.
func TestUnreadablePlace(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
		ctx, content := context.Background(), []byte("content")
		w.publish(t, "1", map[string][]byte{"a": content})
		refused := false
		place.set(func(p *picky) { p.refuse[digest.Of(content).SHA256] = storage.ErrUnreachable })
		report, err := w.services[0].VerifyBackend(ctx, "one", registry.VerifyOptions{Concurrency: 1}, func(registry.VerifyReport) {
			if !refused {
				refused = true
				place.set(func(p *picky) { p.away = storage.ErrUnreachable })
			}
		})
		if !errors.Is(err, storage.ErrUnreachable) || report.Unreachable != 0 || findings(t, w).Unreadable != 0 {
			t.Errorf("%+v, %v, %+v", report, err, findings(t, w))
		}
	})
}

// TestSuspect: what a reader finds missing or short is verified, told and not reused.
func TestSuspect(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, _ *picky) {
		ctx, s := context.Background(), w.services[0]
		contents := map[string][]byte{"gone": []byte("it will be gone"), "short": []byte("it will be short"), "back": []byte("it will be back")}
		w.publish(t, "1", contents)
		name := func(file string) string {
			return filepath.Join(w.folder, filepath.FromSlash(storage.Key(digest.Of(contents[file]).SHA256)))
		}
		for _, err := range []error{os.Remove(name("gone")), os.Truncate(name("short"), 3), os.Rename(name("back"), name("back")+".away")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		before := head(t, w)
		for file, content := range contents {
			// Of the short one only what is not there any more.
			if _, _, err := s.OpenBlob(ctx, digest.Of(content).SHA256, &storage.Range{Offset: 8, Length: 4}); !errors.Is(err, registry.ErrFailedLocation) {
				t.Errorf("%s: %v", file, err)
			}
			if !wanted(t, w, "of-"+file, string(content)) {
				t.Errorf("%s is offered for reuse", file)
			}
		}
		if f := findings(t, w); f.Suspect != 3 || f.Failed != 0 || head(t, w) != before {
			t.Errorf("%+v", f)
		}
		if said := healthReasons(t, w); !strings.Contains(said, "a reader found 3 objects missing or short") {
			t.Errorf("health says %q", said)
		}
		ref := registry.PackageRef{Producer: "p", Name: "n", Version: "1"}
		for _, filter := range []registry.DamageFilter{{}, {Producer: "p", Name: "n", Version: "1"}} {
			page, err := s.ListDamaged(ctx, filter)
			if err != nil || len(page.Damaged) != 3 {
				t.Fatalf("%+v, %v", page, err)
			}
			if d := page.Damaged[0]; d.PackageRef != ref || d.Path != "back" || d.Reason != "suspect" || d.Backend != "one" || time.Since(d.Since) > time.Hour {
				t.Errorf("%+v", d)
			}
		}
		if err := os.Rename(name("back")+".away", name("back")); err != nil {
			t.Fatal(err)
		}
		if err := s.LookAtDoubts(ctx); err != nil {
			t.Fatal(err)
		}
		if f := findings(t, w); f.Suspect != 0 || f.Missing != 1 || f.Corrupt != 1 || f.Live != 2 {
			t.Errorf("%+v", f)
		}
		if kinds, _ := logged(t, w, before); strings.Count(kinds, "location_failed") != 2 {
			t.Errorf("logged %s", kinds)
		}
		// Nobody need wait for it.
		if wanted(t, w, "back-again", string(contents["back"])) || !wanted(t, w, "gone-again", string(contents["gone"])) {
			t.Error("reuse does not follow what was found")
		}
	})
}

// TestVerificationLease: one run at a time on all replicas, and one that hangs after
// it was told to end does not hold its place for ever.
func TestVerificationLease(t *testing.T) {
	t.Parallel()
	onBothPicky(t, func(t *testing.T, w *sweepWorld, place *picky) {
		w.publish(t, "1", map[string][]byte{"a": []byte("a")})
		hangs := make(chan struct{})
		place.set(func(p *picky) { p.wait = hangs })
		w.another(t)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			_, err := w.services[0].VerifyBackend(ctx, "one", registry.VerifyOptions{Concurrency: 1}, nil)
			ended <- err
		}()
		<-place.waiting
		place.set(func(p *picky) { p.wait = nil })
		var busy *registry.ConflictError
		for i, s := range w.services {
			if _, err := s.VerifyBackend(context.Background(), "one", registry.VerifyOptions{}, nil); !errors.As(err, &busy) {
				t.Errorf("replica %d: %v", i, err)
			}
		}
		cancel()
		w.advanced.Add(int64(2 * time.Minute))
		if report, err := w.services[1].VerifyBackend(context.Background(), "one", registry.VerifyOptions{}, nil); err != nil || !report.Done {
			t.Errorf("after the one that hangs: %+v, %v", report, err)
		}
		close(hangs)
		<-ended
		if _, err := w.services[0].VerifyBackend(context.Background(), "one", registry.VerifyOptions{}, nil); err != nil {
			t.Errorf("after both: %v", err)
		}
	})
}

// TestSweepOfAFullPlace: the head mark cannot be moved where there is no room for it.
func TestSweepOfAFullPlace(t *testing.T) {
	t.Parallel()
	full := &fullPlace{}
	w := newSweepWorld(t, "", time.Hour, func(b storage.Backend) storage.Backend { full.Backend = b; return full })
	w.publish(t, "1", map[string][]byte{"a": []byte("a")})
	if _, err := w.store.Put(context.Background(), storage.Source{Reader: strings.NewReader("orphan"), Size: 6}); err != nil {
		t.Fatal(err)
	}
	w.advanced.Add(int64(2 * time.Hour))
	full.now = time.Now().Add(2 * time.Hour)
	if report := w.sweep(t, true); report.Kinds[0].Due != 1 {
		t.Errorf("%+v", report)
	}
	if report := w.sweep(t, false); report.Kinds[0].Removed != 1 {
		t.Errorf("%+v", report)
	}
}

// fullPlace has no room for the head mark, once now is set, and the time that it is given.
type fullPlace struct {
	storage.Backend
	now time.Time
}

func (f *fullPlace) Now(context.Context) (time.Time, error) { return f.now, nil }

func (f *fullPlace) WriteHeadMark(ctx context.Context, mark []byte) (bool, error) {
	if !f.now.IsZero() {
		return false, &storage.PlaceError{Kind: storage.ErrFull, Reason: storage.ReasonFull, Message: "no space is left"}
	}
	return f.Backend.WriteHeadMark(ctx, mark)
}
