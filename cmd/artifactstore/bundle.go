package main

import (
	"bytes"
	"context"
	"io"
	"os"

	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	// bundledFile and smaller goes into a bundle: up to here a request of its
	// own costs more than the bytes.
	bundledFile = 128 << 10
	// A bundle's size: what the registry stores together, so that a request is
	// neither many of its rounds nor a part of one.
	bundleFiles = 128
	bundleBytes = 4 << 20
)

// parcels divides files into requests: large files by themselves, small ones
// in bundles, no fewer than are sent at a time.
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

// bundle gives files one after the other, from memory or from disk.
type bundle struct {
	files    []*localFile
	progress *meter
	current  *localFile
	open     *os.File // of current, if it is not in memory
}

func (b *bundle) next() (registry.NamedContent, error) {
	b.close()
	if len(b.files) == 0 {
		return registry.NamedContent{}, io.EOF
	}
	f := b.files[0]
	b.current, b.files = f, b.files[1:]
	// Without digests: they were declared, and in an archive each costs a header more.
	file := registry.NamedContent{Path: f.path, Content: registry.Content{Size: f.size(), Executable: f.executable}}
	if f.content != nil {
		file.Reader = b.progress.reader(bytes.NewReader(f.content))
		return file, nil
	}
	var err error
	if b.open, err = f.open(); err != nil {
		return file, err
	}
	file.Reader = b.progress.reader(b.open)
	return file, nil
}

// close ends the current file.
func (b *bundle) close() {
	if b.open != nil {
		b.open.Close()
		b.open = nil
	}
	if b.current != nil {
		b.current.content = nil // sent, or the push fails: either way no longer needed
	}
}

// sendParcel sends one request's files.
func sendParcel(ctx context.Context, client uploader, session string, files []*localFile, progress *meter) error {
	if len(files) == 1 {
		return files[0].put(ctx, client, session, progress)
	}
	b := &bundle{files: files, progress: progress}
	defer b.close()
	_, err := client.PutFiles(ctx, session, b.next)
	if err != nil && ctx.Err() == nil && b.open != nil && !b.current.unchanged(b.open) {
		// The registry's complaint about digest or length is a consequence.
		return &changedError{b.current.name}
	}
	return err
}

// uploader is what sending needs of the registry.
type uploader interface {
	registry.Uploads
	registry.Bundles
}
