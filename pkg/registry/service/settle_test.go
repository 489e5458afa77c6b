package service_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/removal"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// interrupted is a place in which something happens between a sweep's last look
// at a blob and its delete.
type interrupted struct {
	storage.Backend
	mu   sync.Mutex
	then func(name digest.Digest) (instead error)
}

func (i *interrupted) Delete(ctx context.Context, name digest.Digest) error {
	i.mu.Lock()
	then := i.then
	i.then = nil // once
	i.mu.Unlock()
	if then != nil {
		if err := then(name); err != nil {
			return err
		}
	}
	return i.Backend.Delete(ctx, name)
}

// orphaned is a world with one old orphan, and the place to interrupt.
func orphaned(t *testing.T, url string, content []byte) (*sweepWorld, *interrupted) {
	t.Helper()
	place := &interrupted{}
	w := newSweepWorld(t, url, 0, func(b storage.Backend) storage.Backend { place.Backend = b; return place })
	if _, err := w.store.Put(context.Background(), storage.Source{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	w.makeOld(t, 48*time.Hour, content)
	return w, place
}

var engines = map[string]func(t *testing.T) string{
	"sqlite":     func(*testing.T) string { return "" },
	"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
}

// The same bytes are stored again at the worst moment: when a sweep is about to
// delete them. The publish waits for the sweep, and then says what is missing.
func TestPublishDuringDelete(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			ctx, content := context.Background(), []byte("swept")
			w, place := orphaned(t, url(t), content)
			ref := registry.PackageRef{Producer: "p", Name: "n", Version: "1"}
			files := map[string][]byte{"a": content, "b": []byte("other")}
			var session string
			answered := make(chan error, 1)
			place.then = func(digest.Digest) error {
				session = w.open(t, ref, files)
				go func() {
					_, err := w.services[0].Publish(ctx, session, nil)
					answered <- err
				}()
				select {
				case err := <-answered:
					t.Errorf("the publish was answered with %v while its blob is being deleted", err)
				case <-time.After(500 * time.Millisecond): // it waits: there is no other sign of that
				}
				return nil
			}
			if blobs := w.sweep(t, false).Kinds[0]; blobs.Removed != 1 {
				t.Errorf("%+v", blobs)
			}
			err := <-answered
			var incomplete *registry.IncompleteError
			if !errors.As(err, &incomplete) || len(incomplete.Paths) != 1 || incomplete.Paths[0] != "a" {
				t.Fatalf("got %v, want a to be missing", err)
			}
			if upload, err := w.services[0].GetUpload(ctx, session); err != nil || upload.Missing != 1 {
				t.Errorf("missing %d, %v", upload.Missing, err)
			}
			if _, err := w.services[0].PutFile(ctx, session, "a", registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.services[0].Publish(ctx, session, nil); err != nil {
				t.Fatal(err)
			}
			w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{ref: files})
			w.sweepClean(t)
		})
	}
}

// The manifest is claimed by no row of a session: it is stored again by itself.
func TestPublishDuringDeleteOfItsManifest(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			ctx, files := context.Background(), map[string][]byte{"a": []byte("a")}
			// Another registry says what the manifest will be.
			other := newSweepWorld(t, "", 0, nil)
			ref := other.publish(t, "1", files)
			p, err := other.services[0].GetPackage(ctx, ref)
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := other.services[0].GetManifest(ctx, p.ManifestDigest)
			if err != nil {
				t.Fatal(err)
			}
			w, place := orphaned(t, url(t), manifest)
			answered := make(chan error, 1)
			place.then = func(digest.Digest) error {
				session := w.open(t, ref, files)
				go func() {
					_, err := w.services[0].Publish(ctx, session, nil)
					answered <- err
				}()
				<-time.After(300 * time.Millisecond) // it has stored its manifest by then, or will: both must do
				return nil
			}
			w.sweep(t, false)
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{ref: files})
			w.sweepClean(t)
		})
	}
}

// A sweep whose delete got no answer may yet delete. What it leaves holds a
// publish up until that is over, and no longer.
func TestPublishAfterADeadSweep(t *testing.T) {
	t.Parallel()
	ctx, content := context.Background(), []byte("swept")
	w, place := orphaned(t, "", content)
	w.services[0].SetSweptPatience(300 * time.Millisecond)
	place.then = func(digest.Digest) error { return errors.New("no answer") }
	if blobs := w.sweep(t, false).Kinds[0]; blobs.Failed != 1 || blobs.Removed != 0 {
		t.Errorf("%+v", blobs)
	}
	ref, files := registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, map[string][]byte{"a": content}
	session := w.open(t, ref, files)
	if _, err := w.services[0].Publish(ctx, session, nil); !errors.Is(err, registry.ErrUnavailable) {
		t.Fatalf("got %v, want the publish to be put off", err)
	}
	w.advanced.Store(int64(removal.Life))
	if _, err := w.services[0].Publish(ctx, session, nil); err != nil {
		t.Fatal(err)
	}
	w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{ref: files})
}

// A blob that was stored again between the sweep's decision and its last look is young.
func TestSweepLooksOnceMore(t *testing.T) {
	t.Parallel()
	ctx, first, second := context.Background(), []byte("first"), []byte("second")
	w, place := orphaned(t, "", first)
	if _, err := w.store.Put(ctx, storage.Source{Reader: bytes.NewReader(second), Size: int64(len(second))}); err != nil {
		t.Fatal(err)
	}
	w.makeOld(t, 48*time.Hour, first, second)
	lister := &refreshing{Backend: place.Backend, content: second}
	place.Backend = lister
	if blobs := w.sweep(t, false).Kinds[0]; blobs.Removed != 1 || blobs.TooYoung != 1 {
		t.Errorf("%+v", blobs)
	}
	if _, err := w.store.Head(ctx, digest.Of(second).SHA256); err != nil {
		t.Error(err)
	}
}

// refreshing stores content again whenever anything is looked at.
type refreshing struct {
	storage.Backend
	content []byte
}

func (r *refreshing) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	if _, err := r.Put(ctx, storage.Source{Reader: bytes.NewReader(r.content), Size: int64(len(r.content))}); err != nil {
		return storage.Info{}, err
	}
	return r.Backend.Head(ctx, name)
}

// A Put is ended before what it has staged is old enough to be swept.
func TestPutTime(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newSweepWorld(t, "", 0, nil)
	w.services[0].SetPutTime(50 * time.Millisecond)
	upload, err := w.services[0].OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.services[0].PutFile(ctx, upload.ID, "a", registry.Content{Reader: endless{}, Size: storage.UnknownSize}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the Put to be ended", err)
	}
}

// endless drips.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	<-time.After(time.Millisecond)
	return copy(p, "drop"), nil
}
