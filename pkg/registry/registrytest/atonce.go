package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// atOnceCases publish a package by one request.
var atOnceCases = []testCase{
	{"a package by one request", atOnce},
	{"by one request what is published", atOnceAgain},
	{"by one request what was sent before", atOnceReused},
	{"packages by one request that are refused", badAtOnce},
	{"as much as one request takes", mostAtOnce},
	{"by its manifest what was published before", atOnceByManifest},
	{"manifests by one request that are refused", badManifests},
}

func (s suite) publishAtOnce(req registry.OpenUpload, files ...file) (registry.Publication, error) {
	s.Helper()
	var sent []registry.NamedContent
	for _, f := range files {
		one := named(f.path, f.content)
		one.Executable = f.executable
		sent = append(sent, one)
	}
	return s.r.PublishFiles(s.ctx, req, registry.SentManifest{}, each(sent...))
}

func atOnce(s suite) {
	files := []file{{"bin/ä %2F", "#!/bin/sh", true}, {"empty", "", false}, {"same", "text", false}, {"same again", "text", false}}
	req := version("1")
	req.Annotations, req.MediaType = map[string]string{"commit": "c0ffee"}, "application/vnd.example"
	head := s.head()
	got, err := s.publishAtOnce(req, files...)
	s.must(err)
	encoded := s.encoded(req, files...)
	equal(s, "manifest", got.ManifestDigest, manifest.Digest(encoded))
	equal(s, "events", s.head(), head+1)
	equal(s, "position", got.Position, head+1)
	equal(s, "reused", [2]int64{int64(got.ReusedFiles), got.ReusedBytes}, [2]int64{1, 4})
	equal(s, "files and bytes", [2]int64{int64(got.Files), got.Bytes}, [2]int64{4, 17})
	stored, err := s.r.GetManifest(s.ctx, got.ManifestDigest)
	s.must(err)
	equal(s, "manifest bytes", string(stored), string(encoded))
	for _, f := range files {
		found, err := s.r.FindFile(s.ctx, req.PackageRef, f.path)
		s.must(err)
		equal(s, f.path, s.read(found.Digests.SHA256, nil), f.content)
	}
	described, err := s.r.GetPackage(s.ctx, req.PackageRef)
	s.must(err)
	equal(s, "annotation", described.Annotations["commit"], "c0ffee")
}

func atOnceAgain(s suite) {
	files := []file{{"a", "a", false}, {"b", "b", true}}
	first, err := s.publishAtOnce(version("1"), files...)
	s.must(err)
	head := s.head()
	again, err := s.publishAtOnce(version("1"), files[1], files[0])
	s.must(err)
	again.ReusedFiles, again.ReusedBytes = 0, 0
	equal(s, "the same again", again, first)
	equal(s, "in a session", s.push(version("1"), files...), first)
	equal(s, "events", s.head(), head)
	byPush := s.push(version("2"), files...)
	again, err = s.publishAtOnce(version("2"), files...)
	s.must(err)
	again.ReusedFiles, again.ReusedBytes = 0, 0
	equal(s, "what a session published", again, byPush)
	var conflict *registry.ConflictError
	if _, err = s.publishAtOnce(version("1"), files[0]); !errors.As(err, &conflict) || conflict.Field != "version" || conflict.Existing != first.ManifestDigest {
		s.Fatalf("other content: %v", err)
	}
	other := version("1")
	other.RetentionClass = "evidence"
	if _, err = s.publishAtOnce(other, files...); !errors.As(err, &conflict) || conflict.Field != "retentionClass" {
		s.Fatalf("other terms: %v", err)
	}
}

func atOnceReused(s suite) {
	old, fresh := file{"old", "old text", false}, file{"new", "new", false}
	_, err := s.publishAtOnce(version("1"), old)
	s.must(err)
	got, err := s.publishAtOnce(version("2"), old, file{"old too", old.content, false}, fresh)
	s.must(err)
	equal(s, "reused", [2]int64{int64(got.ReusedFiles), got.ReusedBytes}, [2]int64{2, 16})
	equal(s, "read back", s.read(digest.Of([]byte(fresh.content)).SHA256, nil), fresh.content)
	stranger := version("1")
	stranger.Producer = "stranger"
	got, err = s.publishAtOnce(stranger, old, fresh)
	s.must(err)
	equal(s, "told to a stranger", got.ReusedFiles, 0)
}

func badAtOnce(s suite) {
	head := s.head()
	refused := func(field string, req registry.OpenUpload, files ...file) {
		s.Helper()
		_, err := s.publishAtOnce(req, files...)
		s.invalid(err, field)
	}
	refused("files", version("1"))
	refused("retentionClass", registry.OpenUpload{PackageRef: version("1").PackageRef}, file{"a", "a", false})
	for _, path := range oddPaths {
		refused("path", version("1"), file{"b", "b", false}, file{path, "a", false})
	}
	much := version("1")
	much.Annotations = map[string]string{"a": strings.Repeat("x", 4096), "b": strings.Repeat("x", 4096)}
	refused("annotations", much, file{"a", "a", false})
	refused("files[1].path", version("1"), file{"a\u0308", "a", false}, file{"\u00e4", "b", false})
	refused("files", version("1"), file{"large", strings.Repeat("l", registry.MaxBytesAtOnce+1), false})
	_, err := s.r.PublishFiles(s.ctx, version("1"), registry.SentManifest{Digest: digest.Of([]byte("other")).SHA256}, each(named("a", "a")))
	s.invalid(err, "manifestDigest")
	wrong := registry.NamedContent{Path: "a", Content: registry.Content{Reader: strings.NewReader("wrong"), Size: 5, Digests: digest.Of([]byte("right"))}}
	_, err = s.r.PublishFiles(s.ctx, version("1"), registry.SentManifest{}, each(named("b", "b"), wrong))
	s.is(err, storage.ErrMismatch)
	unknown := named("a", "a")
	unknown.Size = storage.UnknownSize
	_, err = s.r.PublishFiles(s.ctx, version("1"), registry.SentManifest{}, each(unknown))
	s.invalid(err, "size")
	stop := errors.New("no more")
	given := 0
	_, err = s.r.PublishFiles(s.ctx, version("1"), registry.SentManifest{}, func() (registry.NamedContent, error) {
		if given++; given > 5 {
			return registry.NamedContent{}, stop
		}
		return named(fmt.Sprint(given), "x"), nil
	})
	s.is(err, stop)
	equal(s, "events", s.head(), head)
	_, err = s.r.GetPackage(s.ctx, version("1").PackageRef)
	s.is(err, registry.ErrNotFound)
}

func mostAtOnce(s suite) {
	var files []file
	for i := range registry.MaxFilesAtOnce {
		files = append(files, file{fmt.Sprint(i), strings.Repeat(string(rune('a'+i%26)), registry.MaxBytesAtOnce/registry.MaxFilesAtOnce), i%2 == 0})
	}
	got, err := s.publishAtOnce(version("1"), files...)
	s.must(err)
	equal(s, "files and bytes", [2]int64{int64(got.Files), got.Bytes}, [2]int64{registry.MaxFilesAtOnce, registry.MaxBytesAtOnce})
	_, err = s.publishAtOnce(version("2"), append(files, file{"more", "", false})...)
	s.invalid(err, "files")
}

// publishByManifest sends the manifest of all files, and some of them.
func (s suite) publishByManifest(req registry.OpenUpload, all []file, some ...file) (registry.Publication, error) {
	s.Helper()
	return s.publishEncoded(req, s.encoded(req, all...), some...)
}

func (s suite) publishEncoded(req registry.OpenUpload, encoded []byte, some ...file) (registry.Publication, error) {
	s.Helper()
	var sent []registry.NamedContent
	for _, f := range some {
		one := named(f.path, f.content)
		one.Executable = f.executable
		sent = append(sent, one)
	}
	return s.r.PublishFiles(s.ctx, req, registry.SentManifest{Reader: bytes.NewReader(encoded), Size: int64(len(encoded))}, each(sent...))
}

func atOnceByManifest(s suite) {
	old := []file{{"bin/tool", "tool", true}, {"doc", "text", false}, {"doc again", "text", false}}
	_, err := s.publishAtOnce(version("1"), old...)
	s.must(err)
	head := s.head()
	fresh := append(old[:2:2], file{"moved", "text", true}, file{"new", "new", false}, file{"new too", "new", false})
	var missing *registry.IncompleteError
	if _, err = s.publishByManifest(version("2"), fresh); !errors.As(err, &missing) || missing.Count != 1 || missing.Files != 5 || !slices.Equal(missing.Paths, []string{"new"}) {
		s.Fatalf("without the new file: %v", err)
	}
	_, err = s.r.HeadBlob(s.ctx, digest.Of([]byte("new")).SHA256)
	s.is(err, registry.ErrNotFound)
	equal(s, "events", s.head(), head)
	got, err := s.publishByManifest(version("2"), fresh, fresh[4])
	s.must(err)
	equal(s, "manifest", got.ManifestDigest, manifest.Digest(s.encoded(version("2"), fresh...)))
	equal(s, "reused", [2]int64{int64(got.ReusedFiles), got.ReusedBytes}, [2]int64{4, 15})
	equal(s, "files and bytes", [2]int64{int64(got.Files), got.Bytes}, [2]int64{5, 18})
	equal(s, "position", got.Position, head+1)
	for _, f := range fresh {
		found, err := s.r.FindFile(s.ctx, version("2").PackageRef, f.path)
		s.must(err)
		equal(s, f.path, s.read(found.Digests.SHA256, nil), f.content)
		equal(s, f.path+" is executable", found.Executable, f.executable)
	}
	again, err := s.publishByManifest(version("2"), fresh)
	s.must(err)
	equal(s, "the same again", [2]uint64{again.Position, uint64(again.ReusedFiles)}, [2]uint64{got.Position, 5})
	equal(s, "in a session", s.push(version("2"), fresh...).Position, got.Position)
	var conflict *registry.ConflictError
	if _, err = s.publishByManifest(version("1"), fresh); !errors.As(err, &conflict) || conflict.Existing.IsZero() {
		s.Fatalf("other content: %v", err)
	}
	stranger := version("2")
	stranger.Producer = "stranger"
	if _, err = s.publishByManifest(stranger, fresh); !errors.As(err, &missing) || missing.Count != 3 {
		s.Fatalf("of a stranger: %v", err)
	}
	equal(s, "events", s.head(), head+1)
}

func badManifests(s suite) {
	files := []file{{"a", "a", false}, {"b", "b", false}}
	_, err := s.publishAtOnce(version("1"), files...)
	s.must(err)
	head := s.head()
	req := version("2")
	encoded := s.encoded(req, files...)
	refused := func(field string, encoded []byte, some ...file) {
		s.Helper()
		_, err := s.publishEncoded(req, encoded, some...)
		s.invalid(err, field)
	}
	refused("manifest", []byte("no manifest"))
	refused("manifest", encoded[:len(encoded)-1])
	refused("manifest", append(slices.Clone(encoded), 0))
	refused("manifest", s.encoded(version("1"), files...))
	refused("files", encoded, file{"c", "c", false})
	refused("files", encoded, file{"a", "a", true})
	refused("files", encoded, files[0], files[0])
	_, err = s.publishEncoded(req, encoded, file{"a", "b", false})
	s.is(err, storage.ErrMismatch)
	_, err = s.publishEncoded(req, encoded, file{"a", "longer", false})
	s.is(err, storage.ErrMismatch)
	// Of what is published before, another BLAKE3 or size.
	described := manifest.Manifest{Producer: req.Producer, Name: req.Name, Version: req.Version}
	for _, f := range files {
		described.Files = append(described.Files, manifest.File{Path: f.path, Size: 1, Digests: digest.Of([]byte(f.content))})
	}
	described.Files[1].Digests.BLAKE3 = described.Files[0].Digests.BLAKE3
	wrong, err := manifest.Encode(&described)
	s.must(err)
	refused("manifest", wrong)
	described.Files[1].Digests, described.Files[1].Size = described.Files[0].Digests, 2
	wrong, err = manifest.Encode(&described)
	s.must(err)
	refused("manifest.files[1]", wrong)
	described.Files[1].Size, described.Files[1].MediaType = 1, "no media type"
	wrong, err = manifest.Encode(&described)
	s.must(err)
	refused("manifest.files[1].mediaType", wrong)
	_, err = s.r.PublishFiles(s.ctx, req, registry.SentManifest{Reader: bytes.NewReader(encoded), Size: int64(len(encoded)), Digest: digest.Of([]byte("other")).SHA256}, each())
	s.invalid(err, "manifestDigest")
	for _, size := range []int64{0, -1, registry.MaxManifestAtOnce + 1} {
		_, err = s.r.PublishFiles(s.ctx, req, registry.SentManifest{Reader: bytes.NewReader(encoded), Size: size}, each())
		s.invalid(err, "manifestSize")
	}
	equal(s, "events", s.head(), head)
}
