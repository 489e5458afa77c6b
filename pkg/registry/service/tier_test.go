package service_test

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// tiered notes the tier of every blob that is put.
type tiered struct {
	storage.Backend
	mu    sync.Mutex
	asked []string
}

func (s *tiered) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	s.mu.Lock()
	s.asked = append(s.asked, src.Tier)
	s.mu.Unlock()
	return s.Backend.Put(ctx, src)
}

// The tier of a session is that of all it stores: what is sent, alone or bundled, what is copied
// from another backend, and the manifest.
func TestTierReachesTheBackend(t *testing.T) {
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
	places := map[string]*tiered{"one": {Backend: mem.New()}, "two": {Backend: mem.New()}}
	var snapshot routing.Snapshot
	for _, name := range []string{"one", "two"} {
		id, err := service.RegisterBackend(ctx, name, "mem", name, places[name])
		if err != nil {
			t.Fatal(err)
		}
		snapshot.Backends = append(snapshot.Backends, placement.Backend{ID: id, Name: name, Driver: "mem", Ready: true, Store: places[name]})
	}
	for _, publish := range []struct {
		backend, version string
		tier             registry.Tier
		send             map[string]string
		asked            []string
	}{
		{"one", "1", "", map[string]string{"a": "same"}, []string{"hot", "hot"}},
		{"two", "2", registry.TierCold, map[string]string{"a": "same", "b": "other", "bundled": "and another"}, []string{"cold", "cold", "cold", "cold"}},
	} {
		snapshot.Rules = []routing.Rule{{Policy: "p", Backends: []string{publish.backend}}}
		table.Swap(snapshot)
		upload, err := service.OpenUpload(ctx, registry.OpenUpload{
			PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: publish.version}, RetentionClass: "r", Tier: publish.tier,
		})
		if err != nil {
			t.Fatal(err)
		}
		for path, content := range publish.send {
			size := int64(len(content))
			declared, err := service.DeclareFiles(ctx, upload.ID, []registry.FileDeclaration{{Path: path, Size: &size, Digests: digest.Of([]byte(content))}})
			if err != nil {
				t.Fatal(err)
			}
			if len(declared.Send) == 0 {
				continue
			}
			sent := registry.Content{Reader: strings.NewReader(content), Size: size}
			if path == "bundled" {
				left := []registry.NamedContent{{Path: path, Content: sent}}
				_, err = service.PutFiles(ctx, upload.ID, func() (next registry.NamedContent, err error) {
					if len(left) == 0 {
						return next, io.EOF
					}
					next, left = left[0], nil
					return next, nil
				})
			} else {
				_, err = service.PutFile(ctx, upload.ID, path, sent)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := service.Publish(ctx, upload.ID, nil); err != nil {
			t.Fatal(err)
		}
		if got := places[publish.backend].asked; !slices.Equal(got, publish.asked) {
			t.Errorf("version %s: %q was put with the tiers %q, want %q", publish.version, publish.backend, got, publish.asked)
		}
	}
}
