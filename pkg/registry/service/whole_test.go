package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// TestWholeFileInOnePiece: a file that comes in one piece is stored once, under its own
// name, and what is not what was declared is refused as any other.
func TestWholeFileInOnePiece(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	content := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16) // more than two of the usual parts
	size, digests := int64(len(content)), digest.Of(content)
	for name, test := range map[string]struct {
		declare bool
		tier    registry.Tier
		body    io.Reader
		piece   registry.Piece
		objects int // that are new
		err     error
	}{
		"declared":            {declare: true, objects: 1},
		"not declared":        {objects: 1},
		"with digests":        {piece: registry.Piece{Content: registry.Content{Digests: digests}}, objects: 1},
		"of another tier":     {declare: true, tier: registry.TierCold, objects: 3}, // the parts, of which two are equal, and the file
		"other bytes":         {declare: true, body: strings.NewReader(strings.Repeat("x", len(content))), objects: 1, err: storage.ErrMismatch},
		"others than it says": {piece: registry.Piece{Content: registry.Content{Digests: digest.Of([]byte("x"))}}, objects: 1, err: storage.ErrMismatch},
		"too few":             {declare: true, body: strings.NewReader("012"), objects: 1, err: storage.ErrSource},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, "", 0, nil)
			service := w.services[0]
			upload, err := service.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "none", Tier: test.tier})
			if err != nil {
				t.Fatal(err)
			}
			if test.declare {
				if _, err := service.DeclareFiles(ctx, upload.ID, []registry.FileDeclaration{{Path: "f", Size: &size, Digests: digests}}); err != nil {
					t.Fatal(err)
				}
			}
			before := len(w.files(t))
			piece := test.piece
			piece.Reader, piece.Size, piece.Length, piece.Complete = bytes.NewReader(content), size, size, true
			if test.body != nil {
				piece.Reader = test.body
			}
			progress, err := service.AppendFile(ctx, upload.ID, "f", piece)
			if !errors.Is(err, test.err) || test.err == nil && (!progress.Complete || progress.Offset != size || progress.Digests != digests) {
				t.Fatalf("%+v, %v", progress, err)
			}
			if now := len(w.files(t)); now-before != test.objects {
				t.Errorf("%d objects were stored, want %d", now-before, test.objects)
			}
			after, err := service.FileProgress(ctx, upload.ID, "f")
			want := int64(0)
			switch {
			case test.err == nil:
				want = size
			case errors.Is(test.err, storage.ErrSource):
				want = 3
			}
			if err != nil || after.Offset != want || after.Complete != (test.err == nil) {
				t.Errorf("afterwards: %+v, %v", after, err)
			}
			if test.err != nil { // the right bytes are taken after the wrong ones
				piece.Reader, piece.Offset, piece.Digests = bytes.NewReader(content[want:]), want, digests
				piece.Size -= want
				if progress, err := service.AppendFile(ctx, upload.ID, "f", piece); err != nil || !progress.Complete {
					t.Fatalf("again: %+v, %v", progress, err)
				}
			}
			if _, err := service.Publish(ctx, upload.ID, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// copying is a place in which a large blob without its digest costs a copy.
type copying struct{ storage.Backend }

func (copying) CopiesStaged() bool { return true }

// TestWholeFileWhereStagingCopies: a fast body goes straight to its place, and the first
// part of one that broke is kept.
func TestWholeFileWhereStagingCopies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const part = 8 << 20
	w := newSweepWorld(t, "", 0, func(b storage.Backend) storage.Backend { return copying{b} })
	service := w.services[0]
	content := make([]byte, 3*part)
	for i := range content {
		content[i] = byte(i >> 17)
	}
	size, digests := int64(len(content)), digest.Of(content)
	upload, err := service.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "none"})
	if err != nil {
		t.Fatal(err)
	}
	send := func(path string, offset int64, body io.Reader) (registry.FileProgress, error) {
		return service.AppendFile(ctx, upload.ID, path, registry.Piece{
			Content: registry.Content{Reader: body, Size: size - offset, Digests: digests}, Offset: offset, Complete: true, Length: size,
		})
	}
	before := len(w.files(t))
	if progress, err := send("fast", 0, bytes.NewReader(content)); err != nil || !progress.Complete || progress.Digests != digests {
		t.Fatalf("%+v, %v", progress, err)
	}
	if now := len(w.files(t)); now-before != 3 { // the first part, the nothing behind it, and the file
		t.Errorf("%d objects were stored, want 3", now-before)
	}

	// A body that is slower is kept in parts, also when it breaks.
	service.SetStraightFor(-1)
	slow := io.MultiReader(bytes.NewReader(content[:2*part+part/2]), iotest.ErrReader(errors.New("the line broke")))
	if _, err := send("fast", 0, slow); !errors.Is(err, registry.ErrConflict) {
		t.Errorf("a file that is complete: %v", err)
	}
	slow = io.MultiReader(bytes.NewReader(content[:2*part+part/2]), iotest.ErrReader(errors.New("the line broke")))
	if err := service.AbandonUpload(ctx, upload.ID); err != nil {
		t.Fatal(err)
	}
	if upload, err = service.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "slow"}, RetentionClass: "none"}); err != nil {
		t.Fatal(err)
	}
	if _, err := send("slow", 0, slow); !errors.Is(err, storage.ErrSource) {
		t.Errorf("slow: %v", err)
	}
	if progress, err := service.FileProgress(ctx, upload.ID, "slow"); err != nil || progress.Offset != 2*part+part/2 {
		t.Errorf("slow: %+v, %v", progress, err)
	}
	if progress, err := send("slow", 2*part+part/2, bytes.NewReader(content[2*part+part/2:])); err != nil || !progress.Complete {
		t.Errorf("slow: %+v, %v", progress, err)
	}
	service.SetStraightFor(time.Hour)
	if upload, err = service.OpenUpload(ctx, registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "2"}, RetentionClass: "none"}); err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(bytes.NewReader(content[:part+part/2]), iotest.ErrReader(errors.New("the line broke")))
	if _, err := send("broken", 0, broken); !errors.Is(err, storage.ErrSource) {
		t.Errorf("broken: %v", err)
	}
	progress, err := service.FileProgress(ctx, upload.ID, "broken")
	if err != nil || progress.Offset != part || progress.Complete {
		t.Fatalf("after the break: %+v, %v", progress, err)
	}
	if progress, err = send("broken", part, bytes.NewReader(content[part:])); err != nil || !progress.Complete {
		t.Fatalf("%+v, %v", progress, err)
	}
	wrong := bytes.Clone(content)
	wrong[len(wrong)-1] ^= 1
	if _, err := send("wrong", 0, bytes.NewReader(wrong)); !errors.Is(err, storage.ErrMismatch) {
		t.Errorf("wrong: %v", err)
	}
	if progress, err := service.FileProgress(ctx, upload.ID, "wrong"); err != nil || progress.Offset != 0 {
		t.Errorf("after wrong bytes: %+v, %v", progress, err)
	}
}
