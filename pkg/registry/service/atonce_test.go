package service_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
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
					_, err := w.services[0].PublishFiles(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "release"}, digest.Digest{}, atOnce(files))
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
