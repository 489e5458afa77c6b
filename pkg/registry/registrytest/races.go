package registrytest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// raceCases are requests that get in each other's way, or in their own.
var raceCases = []testCase{
	{"a refused file binds nobody", refusedBindsNobody},
	{"files that arrive beside a publish", lateFiles},
	{"one path, several contents at once", contentsAtOnce},
	{"pieces at once", piecesAtOnce},
	{"a session lives on while files arrive", livesOn},
	{"names that no database takes", badBytes},
}

func refusedBindsNobody(s suite) {
	upload := s.open(version("1"))
	wrong := registry.Content{Reader: strings.NewReader("bytes"), Size: 5, Digests: digest.Of([]byte("others"))}
	_, err := s.r.PutFile(s.ctx, upload.ID, "a", wrong)
	s.is(err, storage.ErrMismatch)
	got, err := s.r.GetUpload(s.ctx, upload.ID)
	s.must(err)
	equal(s, "files after a refusal", got.Files, 0)
	s.put(upload.ID, "a", "right")
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
}

// A file that is answered is in the package, or the session was still open.
func lateFiles(s suite) {
	upload := s.open(version("1"))
	s.fill(upload.ID, []file{{"a", "a", false}})
	var (
		group       sync.WaitGroup
		mu          sync.Mutex
		answered    []string
		publication registry.Publication
		published   error
	)
	for i := range 8 {
		group.Go(func() {
			path := fmt.Sprintf("late%d", i)
			_, err := s.r.PutFile(s.ctx, upload.ID, path, registry.Content{Reader: strings.NewReader(path), Size: int64(len(path))})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				answered = append(answered, path)
			} else if !errors.Is(err, registry.ErrPublished) {
				s.Errorf("%s: %v", path, err)
			}
		})
	}
	group.Go(func() { publication, published = s.r.Publish(s.ctx, upload.ID, nil) })
	group.Wait()
	if published != nil {
		if !errors.Is(published, registry.ErrConflict) && !errors.Is(published, registry.ErrIncomplete) {
			s.Fatal(published)
		}
		var err error
		publication, err = s.r.Publish(s.ctx, upload.ID, nil)
		s.must(err)
	}
	equal(s, "files published", publication.Files, 1+len(answered))
	for _, path := range answered {
		_, err := s.r.FindFile(s.ctx, version("1").PackageRef, path)
		s.must(err)
	}
}

func contentsAtOnce(s suite) {
	upload := s.open(version("1"))
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		taken []string
	)
	for i := range 6 {
		group.Go(func() {
			text := fmt.Sprintf("content %d", i)
			_, err := s.r.PutFile(s.ctx, upload.ID, "a", registry.Content{Reader: strings.NewReader(text), Size: int64(len(text))})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				taken = append(taken, text)
			}
		})
	}
	group.Wait()
	equal(s, "contents that were answered", len(taken), 1)
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "published", s.read(digest.Of([]byte(taken[0])).SHA256, nil), taken[0])
}

func piecesAtOnce(s suite) {
	upload := s.open(version("1"))
	var group sync.WaitGroup
	done := make(chan bool, 6)
	for range 6 {
		group.Go(func() {
			_, err := s.r.AppendFile(s.ctx, upload.ID, "a", piece(0, true, content("0123456789")))
			if err != nil && !errors.Is(err, registry.ErrConflict) {
				s.Errorf("got %v, want a conflict", err)
			}
			done <- err == nil
		})
	}
	group.Wait()
	close(done)
	won := 0
	for ok := range done {
		if ok {
			won++
		}
	}
	if won == 0 {
		s.Fatal("none of the requests was answered")
	}
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "joined", s.read(digest.Of([]byte("0123456789")).SHA256, nil), "0123456789")
}

func livesOn(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "a", false}, {"b", "b", false}, {"c", "c", false}})
	for _, name := range []string{"a", "b", "c"} {
		s.Advance(registry.UploadLifetime * 2 / 3)
		s.put(upload.ID, name, name)
	}
	s.Advance(registry.UploadLifetime - time.Minute)
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
}

func badBytes(s suite) {
	for _, id := range []string{"\x00", "\xff", "no-uuid"} {
		_, err := s.r.GetUpload(s.ctx, id)
		s.is(err, registry.ErrNotFound)
		_, err = s.r.PutFile(s.ctx, id, "a", content("a"))
		s.is(err, registry.ErrNotFound)
		_, err = s.r.Publish(s.ctx, id, nil)
		s.is(err, registry.ErrNotFound)
		s.must(s.r.AbandonUpload(s.ctx, id))
	}
	for _, bad := range []string{"a\x00b", "\xff"} {
		_, err := s.r.ListPackages(s.ctx, registry.PackageFilter{Producer: bad})
		s.invalid(err, "producer")
		_, err = s.r.ListPackages(s.ctx, registry.PackageFilter{RetentionClass: bad})
		s.invalid(err, "retentionClass")
	}
	// "after" is base64url of JSON; this one holds a NUL.
	_, err := s.r.ListPackages(s.ctx, registry.PackageFilter{After: "WyJhXHUwMDAwIiwibiIsIjEiXQ"})
	s.invalid(err, "after")
}
