package registrytest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Run runs every case on a registry of its own, in parallel, and checks the views after it.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, c := range slices.Concat(uploadCases, contentCases, inputCases, logCases, findingCases, tagCases, verificationCases, resumeCases, bundleCases, atOnceCases, treeCases, raceCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			f := open(t)
			c.run(suite{t, ctx, f, f.Registry})
			if f.Check != nil {
				f.Check(t)
			}
		})
	}
}

type testCase struct {
	name string
	run  func(s suite)
}

// suite is what a case works with.
type suite struct {
	*testing.T
	ctx context.Context
	Fixture
	r registry.Registry
}

// file is one file of a package under test.
type file struct {
	path, content string
	executable    bool
}

func version(v string) registry.OpenUpload {
	return registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "ci", Name: "tool", Version: v}, RetentionClass: "release"}
}

func (s suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s suite) open(req registry.OpenUpload) registry.Upload {
	s.Helper()
	upload, err := s.r.OpenUpload(s.ctx, req)
	s.must(err)
	return upload
}

func declarations(files []file) []registry.FileDeclaration {
	declared := make([]registry.FileDeclaration, len(files))
	for i, f := range files {
		size := int64(len(f.content))
		declared[i] = registry.FileDeclaration{Path: f.path, Size: &size, Digests: digest.Of([]byte(f.content)), Executable: f.executable}
	}
	return declared
}

func (s suite) declare(id string, files []file) registry.Declared {
	s.Helper()
	declared, err := s.r.DeclareFiles(s.ctx, id, declarations(files))
	s.must(err)
	return declared
}

func content(text string) registry.Content {
	return registry.Content{Reader: strings.NewReader(text), Size: int64(len(text)), Digests: digest.Of([]byte(text))}
}

func (s suite) put(id, path, text string) {
	s.Helper()
	_, err := s.r.PutFile(s.ctx, id, path, content(text))
	s.must(err)
}

// fill declares files and sends those that are asked for, eight at a time.
func (s suite) fill(id string, files []file) {
	s.Helper()
	contents := make(map[string]string, len(files))
	for _, f := range files {
		contents[f.path] = f.content
	}
	paths := make(chan string)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for path := range paths {
				if _, err := s.r.PutFile(s.ctx, id, path, content(contents[path])); err != nil {
					s.Errorf("sending %q: %v", path, err)
				}
			}
		})
	}
	for _, path := range s.declare(id, files).Send {
		paths <- path
	}
	close(paths)
	group.Wait()
	if s.Failed() {
		s.FailNow()
	}
}

// push publishes a package.
func (s suite) push(req registry.OpenUpload, files ...file) registry.Publication {
	s.Helper()
	upload := s.open(req)
	s.fill(upload.ID, files)
	publication, err := s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	return publication
}

// encoded is the manifest that the files make.
func (s suite) encoded(req registry.OpenUpload, files ...file) []byte {
	s.Helper()
	m := &manifest.Manifest{Producer: req.Producer, Name: req.Name, Version: req.Version, MediaType: req.MediaType, Annotations: req.Annotations}
	for _, f := range files {
		m.Files = append(m.Files, manifest.File{Path: f.path, Size: int64(len(f.content)), Digests: digest.Of([]byte(f.content)), Executable: f.executable})
	}
	data, err := manifest.Encode(m)
	s.must(err)
	return data
}

// read returns a blob, or a part of it.
func (s suite) read(name digest.Digest, rng *storage.Range) string {
	s.Helper()
	body, _, err := s.r.OpenBlob(s.ctx, name, rng)
	s.must(err)
	defer body.Close() //nolint:errcheck // it is only read
	data, err := io.ReadAll(body)
	s.must(err)
	return string(data)
}

func (s suite) head() uint64 {
	s.Helper()
	head, err := s.r.LogHead(s.ctx)
	s.must(err)
	return head.Position
}

// invalid fails unless err is an *InvalidError on field.
func (s suite) invalid(err error, field string) {
	s.Helper()
	var invalid *registry.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field || invalid.Message == "" {
		s.Fatalf("got %v, want an InvalidError on %s", err, field)
	}
}

func (s suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("got %v, want: %v", err, want)
	}
}

func equal[T comparable](s suite, what string, got, want T) {
	s.Helper()
	if got != want {
		s.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// breaking gives a text and then an error.
func breaking(text string) io.Reader {
	return io.MultiReader(strings.NewReader(text), errReader{})
}

type errReader struct{}

var errBroken = errors.New("the line went dead")

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

// onlyReader hides everything but Read: such a source cannot be sent twice.
type onlyReader struct{ io.Reader }
