package registrytest

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

var bundleCases = []testCase{
	{"many files in one request", bundle},
	{"bundles that are refused", badBundles},
	{"a bundle that breaks off", brokenBundle},
}

// each gives the files one after the other.
func each(files ...registry.NamedContent) func() (registry.NamedContent, error) {
	return func() (registry.NamedContent, error) {
		if len(files) == 0 {
			return registry.NamedContent{}, io.EOF
		}
		file := files[0]
		files = files[1:]
		return file, nil
	}
}

func named(path, text string) registry.NamedContent {
	return registry.NamedContent{Path: path, Content: content(text)}
}

func bundle(s suite) {
	var files []file
	for i := range 300 {
		files = append(files, file{fmt.Sprintf("d%d/ä %%2F %d", i%7, i), strings.Repeat(fmt.Sprint(i), i), i%3 == 0})
	}
	files = append(files, file{"large", strings.Repeat("0123456789", 300_000), false}, file{strings.Repeat("long/", 180) + "x", "", true}, file{"unknown", "size", false})
	upload := s.open(version("1"))
	s.declare(upload.ID, files[:100]) // some are declared before, with their executable bit
	var sent []registry.NamedContent
	var size int64
	for i, f := range files {
		one := named(f.path, f.content)
		one.Executable = f.executable
		if i%2 == 1 {
			one.Digests = digest.Dual{}
		}
		if f.path == "unknown" {
			one.Size = storage.UnknownSize
		}
		sent = append(sent, one)
		size += int64(len(f.content))
	}
	got, err := s.r.PutFiles(s.ctx, upload.ID, each(sent...))
	s.must(err)
	equal(s, "bundled", got, registry.Bundled{Files: len(files), Bytes: size})
	publication, err := s.r.Publish(s.ctx, upload.ID, s.encoded(version("1"), files...))
	s.must(err)
	equal(s, "files", publication.Files, len(files))
	equal(s, "read back", s.read(digest.Of([]byte(files[300].content)).BLAKE3, nil) == files[300].content, true)
	_, err = s.r.PutFiles(s.ctx, upload.ID, each(named("more", "more")))
	s.is(err, registry.ErrPublished)
	_, err = s.r.PutFiles(s.ctx, "unknown", each(named("a", "a")))
	s.is(err, registry.ErrNotFound)
}

func badBundles(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "right", false}})
	head := s.head()
	for name, path := range oddPaths {
		_, err := s.r.PutFiles(s.ctx, upload.ID, each(named(path, "a")))
		if s.invalid(err, "path"); s.Failed() {
			s.Fatal(name)
		}
	}
	wrong := registry.NamedContent{Path: "a", Content: registry.Content{Reader: strings.NewReader("wrong"), Size: 5}}
	_, err := s.r.PutFiles(s.ctx, upload.ID, each(named("b", "b"), wrong, named("c", strings.Repeat("c", 8<<20))))
	s.is(err, storage.ErrMismatch)
	large := named("large", strings.Repeat("l", 1<<20))
	large.Digests = digest.Of([]byte("other"))
	_, err = s.r.PutFiles(s.ctx, upload.ID, each(large, named("c", strings.Repeat("c", 8<<20))))
	s.is(err, storage.ErrMismatch)
	_, err = s.r.PutFiles(s.ctx, upload.ID, each(registry.NamedContent{Path: "a", Content: registry.Content{Reader: strings.NewReader("righ"), Size: 4}}))
	s.invalid(err, "size")
	s.nothingStored(upload.ID, head)
}

func brokenBundle(s suite) {
	upload := s.open(version("1"))
	s.declare(upload.ID, []file{{"a", "right", false}})
	head := s.head()
	stop := errors.New("no more")
	given := 0
	_, err := s.r.PutFiles(s.ctx, upload.ID, func() (registry.NamedContent, error) {
		if given++; given > 5 {
			return registry.NamedContent{}, stop
		}
		return named(fmt.Sprint(given), "x"), nil
	})
	s.is(err, stop)
	_, err = s.r.PutFiles(s.ctx, upload.ID, each(registry.NamedContent{Path: "a", Content: registry.Content{Reader: breaking("rig"), Size: 5}}))
	s.is(err, storage.ErrSource)
	s.is(err, errBroken)
	s.nothingStored(upload.ID, head)
	_, err = s.r.PutFiles(s.ctx, upload.ID, each(named("a", "right")))
	s.must(err)
}
