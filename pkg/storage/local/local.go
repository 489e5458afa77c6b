// Package local keeps blobs in a folder of a file system, in the layout of
// package storage.
//
// A blob is written to a temporary file under .artifactstore/staging, hashed
// on the way, compared, fsynced, renamed to its name, and its folder fsynced:
// a name is there only with all of its verified bytes behind it. A crash
// leaves at most a file in staging, which nobody reads and which is removed by
// a later Open once it is a day old.
//
// Every path is resolved by os.Root, so that a symbolic link below the folder
// cannot lead out of it.
package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

const (
	dirMode = 0o750
	// blobMode has no write bit: a stored blob is never changed.
	blobMode = 0o440
	// leftoverAge is when a file in staging can no longer belong to an
	// upload that runs: its last write is a day ago.
	leftoverAge = 24 * time.Hour
)

// Backend is a folder as a storage.Backend.
type Backend struct {
	config  Config
	root    *os.Root
	staging *os.Root // saves resolving the folder for every temporary file
	known   folders
	buffers *buffer.Pool  // small ones
	syncs   chan struct{} // syncsAtOnce
}

var _ storage.Backend = (*Backend)(nil)

// Open opens the folder; storage.ErrNoPlace if it is not there. Uploads take
// small buffers of pool, and no others.
func Open(ctx context.Context, config Config, pool *buffer.Pool) (*Backend, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if config.Create {
		if err := makeDurable(config.Path); err != nil {
			return nil, placeError("create the folder", config.Path, err)
		}
	}
	root, err := os.OpenRoot(config.Path)
	if err != nil {
		// OpenRoot has no errno for it.
		if info, statErr := os.Stat(config.Path); statErr == nil && !info.IsDir() {
			err = errNotFolder
		}
		return nil, placeError("open the folder", config.Path, err)
	}
	if config.below != "" {
		outer := root
		root, err = enter(outer, filepath.ToSlash(config.below))
		outer.Close() //nolint:errcheck // opened for reading only
		if err != nil {
			return nil, placeError("open the folder", config.Place(), err)
		}
	}
	staging, err := enter(root, storage.StagingPrefix)
	if err != nil {
		root.Close() //nolint:errcheck // opened for reading only
		return nil, placeError("open the staging folder", config.Place(), err)
	}
	b := &Backend{config: config, root: root, staging: staging, buffers: pool.Small(), syncs: make(chan struct{}, syncsAtOnce)}
	b.removeLeftovers(time.Now().Add(-leftoverAge))
	return b, nil
}

// Close closes the folder.
func (b *Backend) Close() error {
	return errors.Join(b.staging.Close(), b.root.Close())
}

// Health compares the folder at the path with the one that was opened: a
// volume that went away leaves an empty mount point behind.
func (b *Backend) Health(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	opened, err := b.root.Stat(".")
	if err != nil {
		return placeError("look at the folder", b.config.Place(), err)
	}
	there, err := os.Stat(b.config.Place())
	if err != nil {
		return placeError("look at the folder", b.config.Place(), err)
	}
	if !os.SameFile(opened, there) {
		return &storage.PlaceError{Kind: storage.ErrNoPlace, Reason: storage.ReasonFolderNotFound,
			Message: "the folder " + b.config.Place() + " is another one than when it was opened"}
	}
	return nil
}

// removeLeftovers removes what crashed uploads left in staging. Failing to is
// no fault: leftovers do no harm.
func (b *Backend) removeLeftovers(before time.Time) {
	entries, err := fs.ReadDir(b.staging.FS(), ".")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
			b.staging.Remove(entry.Name()) //nolint:errcheck // see above
		}
	}
}

// enter opens a folder below root, made durably where it is missing.
func enter(root *os.Root, name string) (*os.Root, error) {
	for at := range segments(name) {
		if err := makeFolder(root, at); err != nil {
			return nil, err
		}
	}
	return root.OpenRoot(name)
}

// segments yields a, a/b, a/b/c for a/b/c.
func segments(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range name + "/" {
			if c == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// makeFolder makes one folder and fsyncs the one above, also where another
// process made it: that one may not have fsynced yet.
func makeFolder(root *os.Root, name string) error {
	if err := root.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(root, path.Dir(name))
}

func syncFolder(root *os.Root, name string) error {
	folder, err := root.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // opened for reading only
	return folder.Sync()
}

// makeDurable is os.MkdirAll with an fsync above each folder that it makes.
func makeDurable(name string) error {
	if info, err := os.Stat(name); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errNotFolder}
		}
		return nil
	}
	above := filepath.Dir(name)
	if above != name {
		if err := makeDurable(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := os.Open(above)
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // opened for reading only
	return folder.Sync()
}
