package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/shares"
)

// What one holder has in the database is bounded, and takes nothing from another
// one. Of sessions the oldest in which nothing was declared end first.
func TestLimitsOfOneHolder(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, url(t), 0, nil)
			s := w.services[0]
			s.Limits = upload.Usage{Sessions: 4, Files: 10, Texts: 1000}
			one, other := shares.WithHolder(context.Background(), "one"), shares.WithHolder(context.Background(), "other")
			version := 0
			open := func(ctx context.Context, annotation string) (registry.Upload, error) {
				version++
				req := registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: fmt.Sprint(version)}, RetentionClass: "release"}
				if annotation != "" {
					req.Annotations = map[string]string{"a": annotation}
				}
				return s.OpenUpload(ctx, req)
			}
			declare := func(ctx context.Context, id string, paths ...string) error {
				var files []registry.FileDeclaration
				for _, path := range paths {
					files = append(files, registry.FileDeclaration{Path: path, Digests: digest.Of([]byte(path))})
				}
				_, err := s.DeclareFiles(ctx, id, files)
				return err
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			refused := func(what string, err error) {
				t.Helper()
				var limit *registry.LimitError
				if !errors.As(err, &limit) || !errors.Is(err, registry.ErrLimit) {
					t.Errorf("%s: %v, want a LimitError", what, err)
				}
			}
			// Empty sessions come and go; the one in use stays.
			used, err := open(one, "")
			must(err)
			must(declare(one, used.ID, "a"))
			empty, err := open(one, "")
			must(err)
			for range 10 {
				_, err = open(one, "")
				must(err)
			}
			if _, err := s.GetUpload(one, empty.ID); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("the oldest empty session: %v", err)
			}
			if _, err := s.GetUpload(one, used.ID); err != nil {
				t.Errorf("the session in use: %v", err)
			}
			// With files in all of them, no more are opened.
			var ids []string
			for range 3 {
				upload, err := open(one, "")
				must(err)
				must(declare(one, upload.ID, "a"))
				ids = append(ids, upload.ID)
			}
			_, err = open(one, "")
			refused("a fifth session", err)
			_, err = open(other, "")
			must(err)
			must(s.AbandonUpload(one, ids[0]))
			_, err = open(one, "")
			must(err)
			// Files: 3 are declared.
			must(declare(one, used.ID, "b", "c", "d", "e", "f", "g", "h"))
			refused("an eleventh file", declare(one, used.ID, "i"))
			must(declare(one, used.ID, "a", "b")) // they are there
			must(s.AbandonUpload(one, ids[1]))
			must(declare(one, used.ID, "i"))
			// Texts, of annotations as well.
			_, err = open(other, strings.Repeat("x", 900))
			must(err)
			long, err := open(other, "")
			must(err)
			refused("long paths", declare(other, long.ID, strings.Repeat("y", 100)))
			_, err = open(other, strings.Repeat("x", 900)) // instead of the one before, in which nothing is declared
			must(err)
			// Whoever calls in this process has no limits.
			for range 6 {
				_, err = open(context.Background(), "")
				must(err)
			}
		})
	}
}

// A session that could not be published any more is refused when files are declared.
func TestDeclarationsOfAnUnpublishableManifest(t *testing.T) {
	t.Parallel()
	w := newSweepWorld(t, engines["sqlite"](t), 0, nil)
	s, ctx := w.services[0], context.Background()
	session, err := s.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "release"})
	if err != nil {
		t.Fatal(err)
	}
	folder := strings.Repeat("f", 250) + "/"
	for part := 0; ; part++ {
		files := make([]registry.FileDeclaration, 8000)
		for i := range files {
			files[i].Path = fmt.Sprint(folder, folder, folder, folder[200:], part, "-", i)
		}
		if _, err = s.DeclareFiles(ctx, session.ID, files); err != nil {
			break
		}
	}
	var invalid *registry.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "files" || !strings.Contains(invalid.Message, "manifest") {
		t.Fatalf("got %v, want an InvalidError on files", err)
	}
	now, err := s.GetUpload(ctx, session.ID)
	if err != nil || now.Files == 0 || now.Files > 40_000 {
		t.Errorf("%d files are declared, %v", now.Files, err)
	}
}
