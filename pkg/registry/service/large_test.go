package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// A manifest that is not read at once is described as every other one, in pages
// and to those who follow; and it can be read, whole or in part, whether or not its backend has it.
func TestLargeManifest(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, url(t), 0, nil)
			s := w.services[0]
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			head, err := s.LogHead(ctx)
			if err != nil {
				t.Fatal(err)
			}
			followed := make(chan registry.Event, 1)
			go s.FollowEvents(ctx, registry.EventQuery{After: head.Position}, func(e registry.Event) error { followed <- e; return nil }) //nolint:errcheck // ends with the test
			content := []byte("1")
			ref := registry.PackageRef{Producer: "p", Name: "n", Version: "1"}
			id := w.open(t, ref, nil)
			var files []registry.FileDeclaration
			m := manifest.Manifest{Producer: ref.Producer, Name: ref.Name, Version: ref.Version}
			size := int64(len(content))
			for i := range 3000 {
				path := fmt.Sprintf("%s/%04d", strings.Repeat("f", 100), i)
				files = append(files, registry.FileDeclaration{Path: path, Size: &size, Digests: digest.Of(content)})
				m.Files = append(m.Files, manifest.File{Path: path, Size: size, Digests: digest.Of(content)})
			}
			want, err := manifest.Encode(&m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.DeclareFiles(ctx, id, files); err != nil {
				t.Fatal(err)
			}
			if _, err := s.PutFile(ctx, id, files[0].Path, registry.Content{Reader: bytes.NewReader(content), Size: size}); err != nil {
				t.Fatal(err)
			}
			p, err := s.Publish(ctx, id, want)
			if err != nil {
				t.Fatal(err)
			}

			backend := w.tables[0].Backends()[0].ID
			described, err := event.Describe(event.PackagePublished{
				Producer: ref.Producer, Name: ref.Name, Version: ref.Version, RetentionClass: "r", Tier: "hot", Backends: []string{backend}, Manifest: want,
			})
			if err != nil {
				t.Fatal(err)
			}
			right, err := json.Marshal(described)
			if err != nil {
				t.Fatal(err)
			}
			page, err := s.ReadEvents(ctx, registry.EventQuery{After: p.Position - 1, Limit: 1})
			if err != nil || len(page.Events) != 1 || !bytes.Equal(page.Events[0].Payload, right) {
				t.Errorf("a page: %s, %v, want %s", page.Events[0].Payload, err, right)
			}
			if told := <-followed; !reflect.DeepEqual(string(told.Payload), string(right)) || told.Hash != page.Events[0].Hash {
				t.Errorf("a follower was told %s, want %s", told.Payload, right)
			}

			read := func(what string) {
				t.Helper()
				for _, rng := range []*storage.Range{nil, {Offset: 100, Length: 300_000}, {Offset: int64(len(want)) - 7, Length: 7}} {
					body, info, err := s.OpenManifest(ctx, p.ManifestDigest, rng)
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					got, err := io.ReadAll(body)
					body.Close() //nolint:errcheck // read to its end
					part := want
					if rng != nil {
						part = want[rng.Offset:][:rng.Length]
					}
					if err != nil || !bytes.Equal(got, part) || info.Size != int64(len(want)) {
						t.Errorf("%s: %d bytes of %d, want %d: %v", what, len(got), info.Size, len(part), err)
					}
				}
				if got, err := s.GetManifest(ctx, p.ManifestDigest); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", what, len(got), err)
				}
			}
			read("from the backend")
			if err := os.Remove(filepath.Join(w.folder, filepath.FromSlash(storage.Key(p.ManifestDigest)))); err != nil {
				t.Fatal(err)
			}
			read("from the log")
		})
	}
}

// Pages end early where their entries are large, and all entries are on some page.
func TestPagesEndByBytes(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, "", 0, nil)
	s, ctx := w.services[0], context.Background()
	const packages = 9
	for i := range packages {
		annotations := map[string]string{}
		for n := range 20 {
			annotations[fmt.Sprint(n)] = strings.Repeat("x", 4000)
		}
		upload, err := s.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: fmt.Sprint(i)}, RetentionClass: "r", Annotations: annotations})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutFile(ctx, upload.ID, "f", registry.Content{Reader: strings.NewReader("1"), Size: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Publish(ctx, upload.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
	pages, found, after := 0, 0, ""
	for {
		page, err := s.ListPackages(ctx, registry.PackageFilter{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Packages) == 0 || len(page.Packages) > 4 {
			t.Errorf("a page of %d packages", len(page.Packages))
		}
		pages, found, after = pages+1, found+len(page.Packages), page.Next
		if after == "" {
			break
		}
	}
	if found != packages || pages < 3 {
		t.Errorf("%d packages on %d pages", found, pages)
	}
}
