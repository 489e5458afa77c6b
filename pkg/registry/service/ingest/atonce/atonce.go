// Package atonce decides what a package has that is published by one request: all its
// files are here, or its manifest and those files that are new. It does no I/O.
package atonce

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/window"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Content is one blob of a package, and its bytes.
type Content struct {
	Digests digest.Dual
	Bytes   []byte
}

// Package is what was sent. Each content is in one of Sent and Rest.
type Package struct {
	Files  []manifest.File
	Extras rules.Extras
	Sent   []Content
	Rest   []manifest.File // one file for each content that was not sent
}

// Counter counts the files of a request.
type Counter struct {
	files int
	bytes int64
}

// Add refuses a file with which it would be too much.
func (c *Counter) Add(file registry.NamedContent) error {
	if file.Size == storage.UnknownSize {
		return registry.Invalid("size", "of %q must be known", file.Path)
	}
	if c.files++; c.files > registry.MaxFilesAtOnce {
		return registry.Invalid("files", "must be at most %d in one request: more need an upload session", registry.MaxFilesAtOnce)
	}
	if c.bytes += file.Size; c.bytes > registry.MaxBytesAtOnce {
		return registry.Invalid("files", "must have at most %d bytes in one request: more need an upload session", registry.MaxBytesAtOnce)
	}
	return nil
}

// CheckManifest refuses a manifest of a size that one request does not take.
func CheckManifest(size int64) error {
	if size < 1 || size > registry.MaxManifestAtOnce {
		return registry.Invalid("manifestSize", "must be 1 to %d, is %d: a larger manifest needs an upload session", registry.MaxManifestAtOnce, size)
	}
	return nil
}

// Whole is a package of which all files are here.
func Whole(files []window.File) (p Package, err error) {
	declared := make([]registry.FileDeclaration, len(files))
	p.Files = make([]manifest.File, len(files))
	seen := make(map[digest.Digest]bool, len(files))
	for i, file := range files {
		size, digests := file.Size, digest.Of(file.Bytes)
		if err := (storage.Source{Want: file.Digests, Size: size}).Check(digests, size); err != nil {
			return p, fmt.Errorf("%q: %w", file.Path, err)
		}
		declared[i] = registry.FileDeclaration{Path: file.Path, Size: &size, Digests: digests}
		p.Files[i] = manifest.File{Path: file.Path, Size: size, Digests: digests, Executable: file.Executable}
		if !seen[digests.SHA256] {
			seen[digests.SHA256], p.Sent = true, append(p.Sent, Content{digests, file.Bytes})
		}
	}
	_, err = rules.Declarations(declared)
	return p, err
}

// Some is a package of which the manifest is here, encoded, and some of its files.
func Some(encoded []byte, sent []window.File) (p Package, err error) {
	if p.Files, p.Extras, err = rules.FilesOf(encoded); err != nil {
		return p, err
	}
	seen, paths := make(map[digest.Digest]bool, len(p.Files)), make(map[string]bool, len(sent))
	for _, file := range sent {
		digests, err := oneOf(p.Files, file)
		if err != nil {
			return p, err
		}
		if paths[file.Path] {
			return p, registry.Invalid("files", "%q occurs twice", file.Path)
		}
		paths[file.Path] = true
		if !seen[digests.SHA256] {
			seen[digests.SHA256], p.Sent = true, append(p.Sent, Content{digests, file.Bytes})
		}
	}
	p.Rest = make([]manifest.File, 0, len(p.Files))
	for _, f := range p.Files {
		if sha := f.Digests.SHA256; !seen[sha] {
			seen[sha], p.Rest = true, append(p.Rest, f)
		}
	}
	return p, nil
}

// oneOf returns the digests of a file that is in the manifest as it was sent.
func oneOf(files []manifest.File, sent window.File) (digest.Dual, error) {
	i, found := slices.BinarySearchFunc(files, sent.Path, func(f manifest.File, path string) int { return strings.Compare(f.Path, path) })
	if !found {
		return digest.Dual{}, registry.Invalid("files", "%q is not in the manifest", sent.Path)
	}
	f := files[i]
	if f.Executable != sent.Executable {
		return digest.Dual{}, registry.Invalid("files", "%q: executable is %t, in the manifest it is %t", sent.Path, sent.Executable, f.Executable)
	}
	got := digest.Of(sent.Bytes)
	for _, want := range []digest.Dual{sent.Digests, f.Digests} {
		if err := (storage.Source{Want: want, Size: f.Size}).Check(got, sent.Size); err != nil {
			return digest.Dual{}, fmt.Errorf("%q: %w", sent.Path, err)
		}
	}
	return f.Digests, nil
}

// CheckRest returns an *registry.IncompleteError if there is not all of what was not sent
// of a package with that many files.
func CheckRest(rest []manifest.File, files int, has func(manifest.File) (bool, error)) error {
	incomplete := &registry.IncompleteError{Files: files}
	for _, f := range rest {
		there, err := has(f)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if incomplete.Count++; len(incomplete.Paths) < registry.MaxFilesAtOnce {
			incomplete.Paths = append(incomplete.Paths, f.Path)
		}
	}
	if incomplete.Count > 0 {
		return incomplete
	}
	return nil
}
