package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// meanwhile is a source that has something done when its first byte is asked for.
type meanwhile struct {
	io.Reader
	do func()
}

func (m *meanwhile) Read(p []byte) (int, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return m.Reader.Read(p)
}

// A small file that was not declared is declared with its bytes. What others say of it, or
// do to its session, while these are on their way, counts.
func TestPutOfUndeclared(t *testing.T) {
	t.Parallel()
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, url(t), 0, nil)
			s, ctx := w.services[0], shares.WithHolder(context.Background(), "one")
			content, other := []byte("content"), []byte("another")
			version := 0
			open := func() string {
				t.Helper()
				version++
				session, err := s.OpenUpload(ctx, registry.OpenUpload{RetentionClass: "release",
					PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: string(rune('a' + version))}})
				if err != nil {
					t.Fatal(err)
				}
				return session.ID
			}
			put := func(id, path string, do func()) error {
				_, err := s.PutFile(ctx, id, path, registry.Content{Reader: &meanwhile{bytes.NewReader(content), do}, Size: int64(len(content))})
				return err
			}
			declare := func(id, path string, of []byte) func() {
				return func() {
					size := int64(len(of))
					if _, err := s.DeclareFiles(ctx, id, []registry.FileDeclaration{{Path: path, Size: &size, Digests: digest.Of(of)}}); err != nil {
						t.Error(err)
					}
				}
			}
			has := func(id string, files, missing int) {
				t.Helper()
				if got, err := s.GetUpload(ctx, id); err != nil || got.Files != files || got.Missing != missing {
					t.Errorf("the session has %d files, %d of them missing, %v; want %d and %d", got.Files, got.Missing, err, files, missing)
				}
			}

			id := open()
			if err := put(id, "a", nil); err != nil {
				t.Error(err)
			}
			if err := put(id, "a", nil); err != nil {
				t.Errorf("again: %v", err)
			}
			has(id, 1, 0)
			if err := put(id, "b", declare(id, "b", content)); err != nil {
				t.Errorf("declared meanwhile: %v", err)
			}
			has(id, 2, 0)
			if err := put(id, "c", declare(id, "c", other)); !errors.Is(err, storage.ErrMismatch) {
				t.Errorf("declared meanwhile with other bytes: %v", err)
			}
			has(id, 3, 1)
			if err := put(id, "caf\u00e9", declare(id, "cafe\u0301", content)); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("an equal path was declared meanwhile: %v", err)
			}
			if err := put(id, "cafe\u0301", nil); err != nil {
				t.Errorf("that path: %v", err)
			}
			has(id, 4, 1)

			id = open()
			if err := put(id, "a", nil); err != nil {
				t.Error(err)
			}
			if err := put(id, "b", func() {
				if _, err := s.Publish(ctx, id, nil); err != nil {
					t.Error(err)
				}
			}); !errors.Is(err, registry.ErrPublished) {
				t.Errorf("published meanwhile: %v", err)
			}
			id = open()
			if err := put(id, "a", func() {
				if err := s.AbandonUpload(ctx, id); err != nil {
					t.Error(err)
				}
			}); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("abandoned meanwhile: %v", err)
			}

			id = open()
			s.Limits = upload.Usage{Sessions: 100, Files: 6, Texts: 1000}
			if err := put(id, "a", nil); err != nil {
				t.Error(err)
			}
			if err := put(id, "b", nil); err != nil {
				t.Error(err)
			}
			if err := put(id, "c", nil); !errors.Is(err, registry.ErrLimit) {
				t.Errorf("one file too many: %v", err)
			}
			has(id, 2, 0)
		})
	}
}
