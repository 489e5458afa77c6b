package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// atOnce gives the files of a package for PublishFiles.
func atOnce(files map[string][]byte) func() (registry.NamedContent, error) {
	var all []registry.NamedContent
	for path, content := range files {
		all = append(all, registry.NamedContent{Path: path, Content: registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}})
	}
	return func() (file registry.NamedContent, err error) {
		if len(all) == 0 {
			return file, io.EOF
		}
		file, all = all[0], all[1:]
		return file, nil
	}
}

// A package by one request has no session, and so no claim: a sweep is about to delete
// the same bytes. The publish waits for it, and stores them again by itself.
func TestPublishAtOnceDuringDelete(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			ctx, content := context.Background(), []byte("swept")
			w, place := orphaned(t, url(t), content)
			ref := registry.PackageRef{Producer: "p", Name: "n", Version: "1"}
			files := map[string][]byte{"a": content, "b": []byte("other")}
			answered := make(chan error, 1)
			place.then = func(digest.Digest) error {
				go func() {
					_, err := w.services[0].PublishFiles(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "release"}, registry.SentManifest{}, atOnce(files))
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
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{ref: files})
			w.sweepClean(t)
		})
	}
}

// inOneCommit has two appends of a service share a commit, the first one's first: another
// process holds SQLite's lock until both wait.
func (w *sweepWorld) inOneCommit(t *testing.T, first, second func()) {
	t.Helper()
	other, err := database.Open(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // a test's
	begun, hold, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}, 4)
	go func() {
		if err := other.Write(t.Context(), func(database.Tx) error { close(begun); <-hold; return nil }); err != nil {
			t.Error(err)
		}
		ended <- struct{}{}
	}()
	<-begun
	leads := func() { // its transaction waits for the lock, and the two that follow for its end
		w.services[0].ReleaseBackend(context.Background(), registrar.Leaving{Name: "nobody", Place: "x"}) //nolint:errcheck // there is none
	}
	for _, one := range []func(){leads, first, second} {
		go func() { one(); ended <- struct{}{} }()
		<-time.After(300 * time.Millisecond) // there is no other sign that it waits
	}
	close(hold)
	for range 4 {
		<-ended
	}
}

// trusting does not write again what it is said to have, as S3's driver.
type trusting struct {
	storage.Backend
	written *atomic.Int64
}

func (h trusting) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	if src.Held {
		return storage.Info{Digests: src.Want, Size: src.Size, Held: true}, nil
	}
	h.written.Add(1)
	return h.Backend.Put(ctx, src)
}

// A publish that shares the commit of a finding about its blob, or of the abandoning of its
// backend, decides by what these have changed.
func TestPublishAfterFindingInOneCommit(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	w := newSweepWorld(t, "sqlite://"+filepath.Join(t.TempDir(), "registry.db"), 0, func(b storage.Backend) storage.Backend { return trusting{b, &written} })
	content := []byte("found corrupt")
	w.publish(t, "1", map[string][]byte{"a": content})
	page := list(t, w)
	written.Store(0)
	w.inOneCommit(t, func() {
		found := registry.VerifyFindings{Position: page.Position, Failed: []registry.FailedLocation{{SHA256: digest.Of(content).SHA256, Reason: "corrupt"}}}
		if _, err := w.services[0].RecordFindings(t.Context(), "one", found); err != nil {
			t.Error(err)
		}
	}, func() {
		ref := registry.PackageRef{Producer: "p", Name: "n", Version: "2"}
		if _, err := w.services[0].PublishFiles(t.Context(), registry.OpenUpload{PackageRef: ref, RetentionClass: "r"}, registry.SentManifest{}, atOnce(map[string][]byte{"a": content})); err != nil {
			t.Error(err)
		}
	})
	if written.Load() < 3 { // the manifest in each of two attempts, and the blob in the second
		t.Error("it relies on an object that was found corrupt")
	}
	checkViews(t, w.url)
}

func TestPublishAfterReleaseInOneCommit(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "sqlite://"+filepath.Join(t.TempDir(), "registry.db"), 0, nil)
	id := w.tables[0].Backends()[0].ID
	w.inOneCommit(t, func() {
		if _, err := w.services[0].ReleaseBackend(t.Context(), registrar.Leaving{Name: "one", ID: id}); err != nil {
			t.Error(err)
		}
	}, func() {
		ref := registry.PackageRef{Producer: "p", Name: "n", Version: "2"}
		published, err := w.services[0].PublishFiles(t.Context(), registry.OpenUpload{PackageRef: ref, RetentionClass: "r"}, registry.SentManifest{}, atOnce(map[string][]byte{"a": []byte("x")}))
		if !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("a package goes to a backend that was given up: %+v, %v", published, err)
		}
	})
	checkViews(t, w.url)
}
