package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// windowBytes of small files are taken from a bundle before they are stored together.
	windowBytes = 4 << 20
	// windowFiles are looked up and recorded in one statement each.
	windowFiles = upload.MaxGetFiles
	// smallFile is the largest file that is held in a window; larger ones are streamed.
	smallFile = 256 << 10
	// maxWindows bounds the memory of all bundles of the process (32 MiB): further
	// bundles wait.
	maxWindows = 8
	// windowConcurrency is how many files of one window are stored at a time.
	windowConcurrency = 8
)

// window holds small files until they are stored.
type window struct {
	data  []byte // windowBytes, made at first use
	used  int
	files []registry.NamedContent // Readers are over data
}

// windows lends out at most maxWindows.
type windows struct{ free chan *window }

func newWindows() windows {
	w := windows{make(chan *window, maxWindows)}
	for range maxWindows {
		w.free <- new(window)
	}
	return w
}

// lend waits for a window that is free.
func (w windows) lend(ctx context.Context) (*window, error) {
	select {
	case one := <-w.free:
		if one.data == nil {
			one.data = make([]byte, windowBytes)
		}
		return one, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w windows) giveBack(one *window) {
	one.reset()
	w.free <- one
}

func (w *window) reset() {
	clear(w.files)
	w.files, w.used = w.files[:0], 0
}

func (w *window) fits(size int64) bool {
	return len(w.files) < windowFiles && size <= int64(len(w.data)-w.used)
}

// add reads the file's bytes into the window.
func (w *window) add(file registry.NamedContent) error {
	buf := w.data[w.used : w.used+int(file.Size)]
	if _, err := io.ReadFull(file.Reader, buf); err != nil {
		return readError(file.Path, err)
	}
	w.used += len(buf)
	file.Reader = bytes.NewReader(buf)
	w.files = append(w.files, file)
	return nil
}

func readError(path string, err error) error {
	return fmt.Errorf("%w: reading %q: %w", storage.ErrSource, path, err)
}

// readAll returns the file with its bytes in memory of their own.
func readAll(file registry.NamedContent) (registry.NamedContent, error) {
	data := make([]byte, file.Size)
	if _, err := io.ReadFull(file.Reader, data); err != nil {
		return file, readError(file.Path, err)
	}
	file.Reader = bytes.NewReader(data)
	return file, nil
}
