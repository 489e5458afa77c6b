package main

import (
	"bytes"
	"context"
	"io"
	"os"

	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	// bundledFile is the largest file that goes into a bundle. Up to this size
	// the cost of a separate request exceeds the cost of the bytes.
	bundledFile = 128 << 10
	// The size of a bundle is what the registry stores in one batch, so a
	// request is neither many batches nor part of one.
	bundleFiles = 128
	bundleBytes = 4 << 20
)

// parcels divides files into requests: one for each large file, bundles for
// small ones. There are at least as many bundles as are sent in parallel.
func parcels(files []*localFile, concurrency int) [][]*localFile {
	small := 0
	for _, f := range files {
		if f.size() <= bundledFile {
			small++
		}
	}
	most := max(1, min(bundleFiles, small/concurrency))
	var (
		out    [][]*localFile
		bundle []*localFile
		size   int64
	)
	for _, f := range files {
		if f.size() > bundledFile {
			out = append(out, []*localFile{f})
			continue
		}
		if len(bundle) == most || size+f.size() > bundleBytes {
			out = append(out, bundle)
			bundle, size = nil, 0
		}
		bundle, size = append(bundle, f), size+f.size()
	}
	if len(bundle) > 0 {
		out = append(out, bundle)
	}
	return out
}

// bundle returns files one after the other, from memory or from disk.
type bundle struct {
	files    []*localFile
	progress *meter
	current  *localFile
	open     *os.File // current on disk; nil if it is in memory
	keep     bool     // contents in memory, to send them again
	// What progress has of them.
	counted      int64
	countedFiles int
}

func (b *bundle) next() (registry.NamedContent, error) {
	b.close()
	if b.current != nil { // it was read to its end
		b.progress.add(b.current.size())
		b.progress.file(1)
		b.counted += b.current.size()
		b.countedFiles++
	}
	if b.current = nil; len(b.files) == 0 {
		return registry.NamedContent{}, io.EOF
	}
	f := b.files[0]
	b.current, b.files = f, b.files[1:]
	// No digests here: they are declared already, and each would add a header to the archive.
	file := registry.NamedContent{Path: f.path, Content: registry.Content{Size: f.size(), Executable: f.executable}}
	if f.content != nil {
		file.Reader = bytes.NewReader(f.content)
		return file, nil
	}
	var err error
	if b.open, err = f.open(); err != nil {
		return file, err
	}
	file.Reader = b.open
	return file, nil
}

func (b *bundle) close() {
	if b.open != nil {
		b.open.Close()
		b.open = nil
	}
	if b.current != nil && !b.keep {
		b.current.content = nil // no longer needed: it was sent, or the push fails
	}
}

// explain prefers that the current file has changed to the registry's error about digest
// or length, which is a consequence of it.
func (b *bundle) explain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil && b.open != nil && !b.current.unchanged(b.open) {
		return &changedError{b.current.name}
	}
	return err
}

// uploader is the part of the registry that sending needs.
type uploader interface {
	registry.Uploads
	registry.Bundles
	registry.Resumes
}
