package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

var uploadCases = []testCase{
	{"publish and read back", publishAndReadBack},
	{"publish again", publishAgain},
	{"another manifest is a conflict", conflict},
	{"other terms are a conflict", otherTerms},
	{"only new bytes are asked for", onlyNewBytes},
	{"an undeclared path", undeclaredPath},
	{"declare again", declareAgain},
	{"the client's manifest", clientManifest},
	{"files are missing", incomplete},
	{"concurrent publishes", concurrentPublishes},
	{"closed after publish", closedAfterPublish},
	{"expired", expired},
	{"abandoned", abandoned},
	{"many files", manyFiles},
	{"no ready backend", noReadyBackend},
}

func publishAndReadBack(s suite) {
	req := version("1.0")
	req.Annotations, req.MediaType = map[string]string{"commit": "abc"}, "application/x-tool"
	files := []file{{"bin/tool", "#!/bin/sh\n", true}, {"docs/ünï cödé %2F?#.txt", "text", false}, {"empty", "", false}, {"Empty", "case tells apart", false}}
	upload := s.open(req)
	equal(s, "state", upload.State, registry.UploadOpen)
	equal(s, "backend", upload.Backend, First)
	equal(s, "tier", upload.Tier, registry.TierHot)
	s.fill(upload.ID, files)
	got, err := s.r.GetUpload(s.ctx, upload.ID)
	s.must(err)
	equal(s, "files", got.Files, len(files))
	equal(s, "missing", got.Missing, 0)
	publication, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	data := s.encoded(req, files...)
	equal(s, "manifest digest", publication.ManifestDigest, manifest.Digest(data))
	equal(s, "position", publication.Position, s.head())

	found, err := s.r.GetPackage(s.ctx, req.PackageRef)
	s.must(err)
	equal(s, "manifest digest", found.ManifestDigest, publication.ManifestDigest)
	equal(s, "retention class", found.RetentionClass, "release")
	equal(s, "annotation", found.Annotations["commit"], "abc")
	equal(s, "media type", found.MediaType, "application/x-tool")
	equal(s, "backend", found.Backend, First)
	equal(s, "files", found.Files, len(files))
	back, err := s.r.GetManifest(s.ctx, found.ManifestDigest)
	s.must(err)
	if !bytes.Equal(back, data) {
		s.Fatalf("the manifest came back as\n%x, want\n%x", back, data)
	}
	info, err := s.r.HeadManifest(s.ctx, found.ManifestDigest)
	s.must(err)
	equal(s, "the manifest", info, registry.BlobInfo{Digests: digest.Of(data), Size: int64(len(data))})
	for _, rng := range []*storage.Range{nil, {Offset: 5, Length: 7}, {Offset: 0, Length: 0}, {Offset: int64(len(data)) - 1, Length: 1}} {
		body, info, err := s.r.OpenManifest(s.ctx, found.ManifestDigest, rng)
		s.must(err)
		part, err := io.ReadAll(body)
		s.must(errors.Join(err, body.Close()))
		want := data
		if rng != nil {
			want = data[rng.Offset:][:rng.Length]
		}
		equal(s, "a part of the manifest", string(part), string(want))
		equal(s, "the manifest", info.Size, int64(len(data)))
	}
	_, _, err = s.r.OpenManifest(s.ctx, found.ManifestDigest, &storage.Range{Offset: int64(len(data)), Length: 1})
	s.is(err, storage.ErrRange)
	for _, f := range files {
		info, err := s.r.FindFile(s.ctx, req.PackageRef, f.path)
		s.must(err)
		equal(s, f.path, info, registry.FileInfo{Path: f.path, Size: int64(len(f.content)), Digests: digest.Of([]byte(f.content)), Executable: f.executable})
		equal(s, f.path, s.read(info.Digests.SHA256, nil), f.content)
		equal(s, f.path, s.read(info.Digests.BLAKE3, nil), f.content)
	}
	page, err := s.r.ListPackages(s.ctx, registry.PackageFilter{Producer: "ci"})
	s.must(err)
	equal(s, "packages", len(page.Packages), 1)
}

func publishAgain(s suite) {
	upload := s.open(version("1"))
	s.fill(upload.ID, []file{{"a", "a", false}})
	first, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	again, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "the same session", again, first)
	equal(s, "another session", s.push(version("1"), file{"a", "a", false}), first)
	equal(s, "head", s.head(), first.Position)
}

func conflict(s suite) {
	first := s.push(version("1"), file{"a", "a", false})
	upload := s.open(version("1"))
	s.fill(upload.ID, []file{{"a", "b", false}})
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	var conflict *registry.ConflictError
	if !errors.As(err, &conflict) || conflict.Field != "version" || conflict.Existing != first.ManifestDigest {
		s.Fatalf("got %v, want a ConflictError on version with %s", err, first.ManifestDigest)
	}
	equal(s, "head", s.head(), first.Position)
}

func otherTerms(s suite) {
	s.push(version("1"), file{"a", "a", false})
	for field, change := range map[string]func(*registry.OpenUpload){
		"retentionClass": func(r *registry.OpenUpload) { r.RetentionClass = "nightly" },
		"tier":           func(r *registry.OpenUpload) { r.Tier = registry.TierCold },
	} {
		req := version("1")
		change(&req)
		_, err := s.r.OpenUpload(s.ctx, req)
		var conflict *registry.ConflictError
		if !errors.As(err, &conflict) || conflict.Field != field {
			s.Fatalf("got %v, want a ConflictError on %s", err, field)
		}
	}
}

func onlyNewBytes(s suite) {
	s.push(version("1"), file{"a", "old", false}, file{"b", "same", false})
	upload := s.open(version("2"))
	declared := s.declare(upload.ID, []file{{"a", "new", false}, {"c", "same", false}, {"d", "old", true}})
	if !slices.Equal(declared.Send, []string{"a"}) || declared.Files != 3 {
		s.Fatalf("got %+v, want a asked for, of 3", declared)
	}
	s.put(upload.ID, "a", "new")
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	equal(s, "d", s.read(digest.Of([]byte("old")).SHA256, nil), "old")

	// What another producer has stored is told to nobody else.
	req := version("1")
	req.Producer = "stranger"
	stranger := s.open(req)
	equal(s, "asked of a stranger", len(s.declare(stranger.ID, []file{{"x", "same", false}}).Send), 1)

	// What is stored only elsewhere is copied: the placement holds every file.
	req = version("3")
	req.RetentionClass = SecondClass
	moved := s.push(req, file{"a", "same", false})
	equal(s, "backend", moved.Backend, Second)
	equal(s, "read back", s.read(digest.Of([]byte("same")).SHA256, nil), "same")
}

func undeclaredPath(s suite) {
	upload := s.open(version("1"))
	_, err := s.r.PutFile(s.ctx, upload.ID, "run", registry.Content{Reader: onlyReader{strings.NewReader("#!")}, Size: storage.UnknownSize, Executable: true})
	s.must(err)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	info, err := s.r.FindFile(s.ctx, version("1").PackageRef, "run")
	s.must(err)
	equal(s, "run", info, registry.FileInfo{Path: "run", Size: 2, Digests: digest.Of([]byte("#!")), Executable: true})
}

func declareAgain(s suite) {
	upload := s.open(version("1"))
	files := []file{{"a", "a", false}, {"b", "b", false}}
	first := s.declare(upload.ID, files)
	again := s.declare(upload.ID, files[:1])
	equal(s, "files", again.Files, first.Files)
	_, err := s.r.DeclareFiles(s.ctx, upload.ID, declarations([]file{{"a", "other", false}}))
	s.is(err, registry.ErrConflict)
	s.fill(upload.ID, files)
	s.put(upload.ID, "a", "a") // the same bytes again are no error
	equal(s, "asked for when all is there", len(s.declare(upload.ID, files).Send), 0)
}

func clientManifest(s suite) {
	files := []file{{"a", "a", false}, {"b", "b", true}}
	right := s.encoded(version("1"), files...)
	upload := s.open(version("1"))
	s.fill(upload.ID, files)
	head := s.head()
	for name, sent := range map[string][]byte{
		"not CBOR":           []byte("{}"),
		"trailing byte":      append(bytes.Clone(right), 0),
		"cut off":            right[:len(right)-1],
		"not canonical":      append([]byte{0xb9, 0x00, right[0] & 0x1f}, right[1:]...), // the same map, its length in three bytes
		"of another package": s.encoded(version("2"), files...),
		"without a file":     s.encoded(version("1"), files[0]),
		"with another file":  s.encoded(version("1"), files[0], file{"b", "c", true}),
		"other executable":   s.encoded(version("1"), files[0], file{"b", "b", false}),
		"with one file more": s.encoded(version("1"), append(files, file{"c", "", false})...),
	} {
		_, err := s.r.Publish(s.ctx, upload.ID, sent)
		var invalid *registry.InvalidError
		if !errors.As(err, &invalid) || len(invalid.Field) < len("manifest") || invalid.Field[:len("manifest")] != "manifest" {
			s.Fatalf("%s: got %v, want an InvalidError on the manifest", name, err)
		}
	}
	equal(s, "head", s.head(), head)
	publication, err := s.r.Publish(s.ctx, upload.ID, right)
	s.must(err)
	equal(s, "manifest digest", publication.ManifestDigest, manifest.Digest(right))
}

func incomplete(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "a", false}, {"b", "b", false}})
	s.put(upload.ID, "a", "a")
	head := s.head()
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	var missing *registry.IncompleteError
	if !errors.As(err, &missing) || missing.Count != 1 || !slices.Equal(missing.Paths, []string{"b"}) {
		s.Fatalf("got %v, want an IncompleteError on b", err)
	}
	equal(s, "head", s.head(), head)
	s.put(upload.ID, "b", "b")
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
}

// concurrentPublishes: of two contents for one version one wins, and all who sent it are told so.
func concurrentPublishes(s suite) {
	const each = 3
	type outcome struct {
		content     string
		publication registry.Publication
		err         error
	}
	outcomes := make(chan outcome, 2*each)
	var start, ready sync.WaitGroup
	start.Add(1)
	for i := range 2 * each {
		text := []string{"left", "right"}[i%2]
		upload := s.open(version("1"))
		s.fill(upload.ID, []file{{"a", text, false}})
		ready.Go(func() {
			start.Wait()
			publication, err := s.r.Publish(s.ctx, upload.ID, nil)
			outcomes <- outcome{text, publication, err}
		})
	}
	head := s.head()
	start.Done()
	ready.Wait()
	close(outcomes)
	var winner *outcome
	won, lost := 0, 0
	for o := range outcomes {
		if o.err != nil {
			s.is(o.err, registry.ErrConflict)
			lost++
			continue
		}
		won++
		if winner == nil {
			winner = &o
		}
		equal(s, "content of a winner", o.content, winner.content)
		equal(s, "publication of a winner", o.publication, winner.publication)
	}
	if won != each || lost != each {
		s.Fatalf("%d won and %d lost, want %d each", won, lost, each)
	}
	equal(s, "head", s.head(), head+1)
}

func closedAfterPublish(s suite) {
	upload := s.open(version("1"))
	s.fill(upload.ID, []file{{"a", "a", false}})
	_, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	head := s.head()
	_, err = s.r.PutFile(s.ctx, upload.ID, "b", content("b"))
	s.is(err, registry.ErrPublished)
	_, err = s.r.DeclareFiles(s.ctx, upload.ID, declarations([]file{{"b", "b", false}}))
	s.is(err, registry.ErrPublished)
	s.is(s.r.AbandonUpload(s.ctx, upload.ID), registry.ErrPublished)
	got, err := s.r.GetUpload(s.ctx, upload.ID)
	s.must(err)
	equal(s, "state", got.State, registry.UploadPublished)
	equal(s, "head", s.head(), head)
	_, err = s.r.FindFile(s.ctx, version("1").PackageRef, "b")
	s.is(err, registry.ErrNotFound)
}

func expired(s suite) {
	upload := s.open(version("1"))
	s.fill(upload.ID, []file{{"a", "a", false}})
	head := s.head()
	s.Advance(registry.UploadLifetime + 1)
	_, err := s.r.GetUpload(s.ctx, upload.ID)
	s.is(err, registry.ErrExpired)
	_, err = s.r.PutFile(s.ctx, upload.ID, "b", content("b"))
	s.is(err, registry.ErrExpired)
	_, err = s.r.DeclareFiles(s.ctx, upload.ID, declarations([]file{{"b", "b", false}}))
	s.is(err, registry.ErrExpired)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.is(err, registry.ErrExpired)
	equal(s, "head", s.head(), head)
	s.must(s.r.AbandonUpload(s.ctx, upload.ID))
}

func abandoned(s suite) {
	upload := s.open(version("1"))
	s.fill(upload.ID, []file{{"a", "a", false}})
	head := s.head()
	s.must(s.r.AbandonUpload(s.ctx, upload.ID))
	s.must(s.r.AbandonUpload(s.ctx, upload.ID))
	_, err := s.r.GetUpload(s.ctx, upload.ID)
	s.is(err, registry.ErrNotFound)
	_, err = s.r.PutFile(s.ctx, upload.ID, "a", content("a"))
	s.is(err, registry.ErrNotFound)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.is(err, registry.ErrNotFound)
	equal(s, "head", s.head(), head)
	_, err = s.r.HeadBlob(s.ctx, digest.Of([]byte("a")).SHA256)
	s.is(err, registry.ErrNotFound)
}

func manyFiles(s suite) {
	files := make([]file, 2000)
	for i := range files {
		files[i] = file{fmt.Sprintf("d%d/f%d", i%40, i), fmt.Sprintf("content %d", i/2), i%7 == 0} // every content twice
	}
	publication := s.push(version("1"), files...)
	equal(s, "manifest digest", publication.ManifestDigest, manifest.Digest(s.encoded(version("1"), files...)))
	equal(s, "files", publication.Files, len(files))
}

func noReadyBackend(s suite) {
	s.push(version("1"), file{"a", "a", false})
	s.SetReady(false)
	head := s.head()
	_, err := s.r.OpenUpload(s.ctx, version("2"))
	s.is(err, registry.ErrNoReadyBackend)
	equal(s, "head", s.head(), head)
	equal(s, "what is stored", s.read(digest.Of([]byte("a")).SHA256, nil), "a") // reads go on
	health, err := s.r.Health(s.ctx)
	s.must(err)
	equal(s, "health", health.Status, registry.HealthDegraded)
	s.SetReady(true)
	s.push(version("2"), file{"a", "a", false})
}
