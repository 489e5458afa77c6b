package service_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/mem"
)

// exchanged is a place whose content was replaced by something else's: it
// answers, and knows neither marker nor blobs.
type exchanged struct {
	storage.Backend
	now atomic.Bool
}

func (e *exchanged) ReadMarker(ctx context.Context) ([]byte, error) {
	if e.now.Load() {
		return nil, storage.ErrNotFound
	}
	return e.Backend.ReadMarker(ctx)
}

// What is missing from another place says nothing about this backend's blobs.
func TestVerificationOfAnotherPlaceFindsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	table := routing.New()
	service, err := service.Open(ctx, service.Options{Database: db, Placer: table})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	place := &exchanged{Backend: mem.New()}
	id, err := service.RegisterBackend(ctx, "one", "mem", "memory", place)
	if err != nil {
		t.Fatal(err)
	}
	table.Swap(routing.Snapshot{Backends: []placement.Backend{{ID: id, Name: "one", Driver: "mem", Ready: true, Store: place}}})
	upload, err := service.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.PutFile(ctx, upload.ID, "a", registry.Content{Reader: strings.NewReader("a"), Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Publish(ctx, upload.ID, nil); err != nil {
		t.Fatal(err)
	}

	for name, during := range map[string]bool{"before the run": false, "during the run": true} {
		before, err := service.LogHead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		place.now.Store(!during)
		if err := place.Delete(ctx, digest.Of([]byte("a")).SHA256); err != nil {
			t.Fatal(err)
		}
		report, err := service.VerifyBackend(ctx, "one", registry.VerifyOptions{}, func(registry.VerifyReport) { place.now.Store(true) })
		if err == nil || report.Done || report.Missing != 0 || report.Error == "" {
			t.Errorf("%s: got %+v, %v; want an aborted run without findings of loss", name, report, err)
		}
		after, err := service.ReadEvents(ctx, registry.EventQuery{After: before.Position})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range after.Events {
			if e.Kind == "v1.storage.location_failed" {
				t.Errorf("%s: the log says %s of %s", name, e.Kind, e.Subject)
			}
		}
	}
}
