package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// TestAbandonBackend on both engines: in one step, without the place, and told by every read.
func TestAbandonBackend(t *testing.T) {
	t.Parallel()
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, url(t), 0, nil)
			if w.url == "" {
				t.Fatal("no database")
			}
			abandonBackend(t, w)
		})
	}
}

func abandonBackend(t *testing.T, w *sweepWorld) {
	ctx := context.Background()
	service, table := w.services[0], w.tables[0]
	one := table.Backends()[0]
	ref := w.publish(t, "1", map[string][]byte{"a": []byte("aaa"), "b": []byte("bbb")})
	underWay := w.open(t, registry.PackageRef{Producer: "p", Name: "n", Version: "2"}, map[string][]byte{"c": []byte("ccc")})
	head := func() uint64 {
		t.Helper()
		at, err := service.LogHead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return at.Position
	}
	read := func(content string) (string, error) {
		body, _, err := service.OpenBlob(ctx, digest.Of([]byte(content)).SHA256, nil)
		if err != nil {
			return "", err
		}
		defer body.Close()
		all, err := io.ReadAll(body)
		return string(all), err
	}

	// The place is gone, marker and all, and the backend is not declared any more.
	if err := os.RemoveAll(w.folder); err != nil {
		t.Fatal(err)
	}
	table.Swap(routing.Snapshot{})
	// It holds what nobody gives up; nothing is logged then. Who lost the id finds it by name and place.
	for _, leaving := range []registrar.Leaving{{Name: "one", ID: one.ID}, {Name: "one", Place: w.folder}, {Name: "one", ID: one.ID, Abandon: "yes"}} {
		before := head()
		if released, err := service.ReleaseBackend(ctx, leaving); err != nil || released != (registrar.Released{ID: one.ID, Live: 3, Held: true}) || head() != before {
			t.Errorf("%+v: %+v, %v", leaving, released, err)
		}
	}
	if released, err := service.ReleaseBackend(ctx, registrar.Leaving{Name: "two", Place: w.folder}); err != nil || released != (registrar.Released{}) {
		t.Errorf("of a backend that nobody knows: %+v, %v", released, err)
	}
	for range 2 { // counted, then kept until something is logged
		if found, err := service.Findings(ctx, one.ID); err != nil || found.Live != 3 || found.Abandoned != 0 {
			t.Errorf("%+v, %v", found, err)
		}
	}
	if used, err := service.InUse(ctx, []string{"another", one.ID}); err != nil || !slices.Equal(used, []string{one.ID}) {
		t.Errorf("in use are %q, %v", used, err)
	}
	gaveUp := registrar.Leaving{Name: "one", Place: w.folder, Abandon: one.ID}
	if released, err := service.ReleaseBackend(ctx, gaveUp); err != nil || released != (registrar.Released{ID: one.ID, Live: 3}) {
		t.Fatalf("%+v, %v", released, err)
	}
	at := head()
	page, err := service.ReadEvents(ctx, registry.EventQuery{After: at - 1, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if e := page.Events[0]; e.Kind != "v1.backend.abandoned" || e.Subject != one.ID || e.Actor != "operator" ||
		string(e.Payload) != fmt.Sprintf(`{"backendId":%q,"name":"one","live":3,"failed":0}`, one.ID) {
		t.Errorf("%s %s %s %s", e.Kind, e.Subject, e.Actor, e.Payload)
	}
	if released, err := service.ReleaseBackend(ctx, gaveUp); err != nil || released.Live != 0 || released.Held || head() != at {
		t.Errorf("once more: %+v, %v", released, err)
	}
	if found, err := service.Findings(ctx, one.ID); err != nil || !reflect.DeepEqual(found, registrar.Findings{Abandoned: 3}) {
		t.Errorf("%+v, %v", found, err)
	}
	if used, err := service.InUse(ctx, []string{"another", one.ID}); err != nil || len(used) > 0 {
		t.Errorf("in use are %q, %v", used, err)
	}
	if p, err := service.GetPackage(ctx, ref); err != nil || p.Abandoned != at || p.BackendID != one.ID || p.Files != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	var gone *registry.AbandonedError
	if _, err := read("aaa"); !errors.Is(err, registry.ErrAbandoned) || !errors.As(err, &gone) || gone.Position != at || gone.Backend != "one" {
		t.Errorf("reading says %v", err)
	}
	p, err := service.GetPackage(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.GetManifest(ctx, p.ManifestDigest); err != nil {
		t.Errorf("the manifest is in the log: %v", err)
	}

	// Declared again on the same folder, which is empty: another backend, for nothing is expected in it.
	if err := os.Mkdir(w.folder, 0o750); err != nil {
		t.Fatal(err)
	}
	place, err := local.Open(ctx, local.Config{Path: w.folder}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	declare := func() string {
		t.Helper()
		id, err := service.RegisterBackend(ctx, "one", "local", w.folder, place)
		if err != nil {
			t.Fatal(err)
		}
		table.Swap(routing.Snapshot{Backends: []placement.Backend{{ID: id, Name: "one", Driver: "local", Ready: true, Store: place}}})
		return id
	}
	if id := declare(); id == one.ID {
		t.Error("an empty place is the backend that was given up")
	}
	// A session that was placed before cannot name anything in what was given up.
	if _, err := service.Publish(ctx, underWay, nil); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("publishing into what was given up: %v", err)
	}
	// Pushing the version again brings its content back.
	w.publish(t, "1", map[string][]byte{"a": []byte("aaa"), "b": []byte("bbb")})
	if content, err := read("aaa"); content != "aaa" || err != nil {
		t.Errorf("%q, %v", content, err)
	}
	checkViews(t, w.url)
}

// TestAbandonedPlaceIsBack: an administrator finds the bytes after all.
func TestAbandonedPlaceIsBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newSweepWorld(t, "", 0, nil)
	service, table := w.services[0], w.tables[0]
	one := table.Backends()[0]
	ref := w.publish(t, "1", map[string][]byte{"a": []byte("aaa"), "b": []byte("bbb")})
	underWay := w.open(t, registry.PackageRef{Producer: "p", Name: "n", Version: "2"}, map[string][]byte{"c": []byte("ccc")})
	if _, err := service.ReleaseBackend(ctx, registrar.Leaving{Name: "one", ID: one.ID, Abandon: one.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Publish(ctx, underWay, nil); !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "one was abandoned (event ") {
		t.Errorf("publishing into what was given up: %v", err)
	}
	if _, err := service.GetPackage(ctx, registry.PackageRef{Producer: "p", Name: "n", Version: "2"}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("it was published all the same: %v", err)
	}
	marked, ok := w.store.(storage.Marked)
	if !ok {
		t.Fatal("no marker")
	}
	for range 2 { // it is registered again once
		if id, err := service.RegisterBackend(ctx, "again", "local", w.folder, marked); err != nil || id != one.ID {
			t.Fatalf("%s, %v", id, err)
		}
	}
	page, err := service.ReadEvents(ctx, registry.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range page.Events {
		kinds = append(kinds, e.Kind)
	}
	if got := strings.Join(kinds, " "); got != "v1.backend.registered v1.package.published v1.backend.abandoned v1.backend.registered" {
		t.Error(got)
	}
	// Nobody has looked at the bytes since, so they are not served yet.
	_, _, err = service.OpenBlob(ctx, digest.Of([]byte("aaa")).SHA256, nil)
	if !errors.Is(err, registry.ErrAbandoned) || !strings.Contains(err.Error(), "not been verified since") {
		t.Errorf("before verification: %v", err)
	}
	if err := os.Remove(filepath.Join(w.folder, filepath.FromSlash(storage.Key(digest.Of([]byte("bbb")).SHA256)))); err != nil {
		t.Fatal(err)
	}
	report, err := service.VerifyBackend(ctx, one.ID, registry.VerifyOptions{}, nil)
	if err != nil || report.Verified != 2 || report.Missing != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	body, _, err := service.OpenBlob(ctx, digest.Of([]byte("aaa")).SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if content, err := io.ReadAll(body); !bytes.Equal(content, []byte("aaa")) || err != nil {
		t.Errorf("%q, %v", content, err)
	}
	if found, err := service.Findings(ctx, one.ID); err != nil || found.Live != 2 || found.Missing != 1 || found.Abandoned != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if p, err := service.GetPackage(ctx, ref); err != nil || p.Abandoned != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := service.Publish(ctx, underWay, nil); err != nil {
		t.Errorf("the session's placement is a backend again: %v", err)
	}
	checkViews(t, w.url)
}

// TestPublishMeetsRelease: uploads that are open while a backend is let go, with
// nothing in it yet, are counted or refused; never is something published into
// what was let go.
func TestPublishMeetsRelease(t *testing.T) {
	t.Parallel()
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			refused, published := 0, 0
			for round := range 12 {
				w := newSweepWorld(t, url(t), 0, nil)
				w.another(t)
				one := w.tables[0].Backends()[0]
				session := w.open(t, registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, map[string][]byte{"a": []byte("aaa")})
				var released registrar.Released
				var failed, failedRelease error
				var both sync.WaitGroup
				both.Go(func() { _, failed = w.services[0].Publish(ctx, session, nil) })
				both.Go(func() {
					<-time.After(time.Duration(round) * time.Millisecond)
					released, failedRelease = w.services[1].ReleaseBackend(ctx, registrar.Leaving{Name: "one", ID: one.ID})
				})
				both.Wait()
				switch {
				case failedRelease != nil:
					t.Fatal(failedRelease)
				case failed == nil && released.Held:
					published++
				case errors.Is(failed, registry.ErrUnavailable) && !released.Held:
					refused++
				default:
					t.Errorf("publishing: %v; letting go: %+v", failed, released)
				}
			}
			t.Logf("%d were published and held the backend, %d were refused", published, refused)
		})
	}
}

// checkViews replays the log and compares every row.
func checkViews(t *testing.T, url string) {
	t.Helper()
	db, err := database.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := view.New(db).Check(context.Background(), view.Progress{}); err != nil {
		t.Error(err)
	}
}
