package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// holding does what a driver may do with content that is held.
type holding struct {
	storage.Backend
	held atomic.Int64
}

func (h *holding) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	if !src.Held {
		return h.Backend.Put(ctx, src)
	}
	h.held.Add(1)
	got, size, err := digest.Copy(io.Discard, src.Reader)
	if err == nil {
		err = src.Check(got, size)
	}
	return storage.Info{Digests: got, Size: size, Held: true}, err
}

// TestHeldContent that another producer has stored is not written again. If its location
// fails before the publication, it must be sent again, and is written then.
func TestHeldContent(t *testing.T) {
	t.Parallel()
	var place *holding
	w := newSweepWorld(t, "", 0, func(b storage.Backend) storage.Backend {
		place = &holding{Backend: b}
		return place
	})
	ctx, service := context.Background(), w.services[0]
	content := []byte("content")
	files := map[string][]byte{"a": content}
	w.publish(t, "1", files)
	send := func(session string) {
		t.Helper()
		sent := registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content)), Digests: digest.Of(content)}
		if _, err := service.PutFile(ctx, session, "a", sent); err != nil {
			t.Fatal(err)
		}
	}
	first := w.open(t, registry.PackageRef{Producer: "q", Name: "n", Version: "1"}, nil)
	send(first)
	if place.held.Load() != 1 {
		t.Errorf("%d puts were told that the place has the content", place.held.Load())
	}
	if _, err := service.Publish(ctx, first, nil); err != nil {
		t.Fatal(err)
	}
	second := w.open(t, registry.PackageRef{Producer: "r", Name: "n", Version: "1"}, nil)
	send(second)
	if err := w.store.Delete(ctx, digest.Of(content).SHA256); err != nil {
		t.Fatal(err)
	}
	if report, err := service.VerifyBackend(ctx, "one", registry.VerifyOptions{}, nil); err != nil || report.Missing != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	var incomplete *registry.IncompleteError
	if _, err := service.Publish(ctx, second, nil); !errors.As(err, &incomplete) || incomplete.Count != 1 {
		t.Fatalf("content that is gone was published: %v", err)
	}
	send(second)
	ref := registry.PackageRef{Producer: "r", Name: "n", Version: "1"}
	if _, err := service.Publish(ctx, second, nil); err != nil {
		t.Fatal(err)
	}
	w.mustBeWhole(t, map[registry.PackageRef]map[string][]byte{ref: files})
}
