// Package local stores blobs in a folder of a file system, in the layout of
// package storage.
//
// A blob is written to a temporary file under .artifactstore/staging and hashed
// meanwhile, compared, fsynced, renamed to its name, and its folder is fsynced: a
// name exists only with all of its verified bytes. A crash leaves at most a file in
// staging, which nobody reads; a later Open removes it once it is a day old.
//
// os.Root resolves every path, so that a symbolic link below the folder cannot lead
// out of it.
package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/coulomb/artifact-store/pkg/regular"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

const (
	dirMode = 0o750
	// blobMode has no write bit: a stored blob never changes.
	blobMode = 0o440
	// leftoverAge is the age since the last write at which a file in staging can
	// no longer belong to a running upload.
	leftoverAge = 24 * time.Hour
)

// Backend is a folder as a storage.Backend.
type Backend struct {
	config  Config
	place   *os.Root        // the folder of Config.Path
	root    *top            // where keys begin: the same folder, but for a probe
	files   *regular.Folder // opens what is below root
	shared  bool            // place and staging belong to another Backend
	known   folders
	buffers *buffer.Pool  // small ones
	syncs   chan struct{} // syncsAtOnce

	mu      sync.Mutex
	staging *top // open, so that temporary files need no resolving of the folder; nil until it could be opened
}

var _ storage.Backend = (*Backend)(nil)

// Open opens the folder; storage.ErrNoPlace if it is missing. Uploads take small
// buffers of pool, and no others.
func Open(ctx context.Context, config Config, pool *buffer.Pool) (*Backend, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if config.Create {
		if err := MakeFolder(config.Path); err != nil {
			return nil, placeError("create the folder", config.Path, err)
		}
	}
	place, err := openFolder(config.Path)
	if err != nil {
		return nil, placeError("open the folder", config.Path, err)
	}
	b := &Backend{config: config, place: place, buffers: pool.Small(), syncs: make(chan struct{}, syncsAtOnce)}
	if b.root, err = enterTop(place, filepath.ToSlash(filepath.Join(".", config.below))); err != nil {
		b.Close() //nolint:errcheck // opened for reading only
		return nil, placeError("open the folder", config.Place(), err)
	}
	b.files = regular.NewFolder(b.root.Root)
	b.stagingFolder() //nolint:errcheck // a place that is only read needs none; a write tells what is wrong
	b.removeLeftovers(time.Now().Add(-leftoverAge))
	return b, nil
}

// ForProbe returns the backend that Config.ForProbe describes. It uses the open
// folders of b, since what hinders the blobs of b must hinder a probe, and must be
// closed before b.
func (b *Backend) ForProbe(pool *buffer.Pool) (*Backend, error) {
	config := b.config.ForProbe()
	staging, err := b.stagingFolder()
	if err != nil {
		return nil, err
	}
	root, err := enterTop(b.place, filepath.ToSlash(config.below))
	if err != nil {
		return nil, placeError("open the folder", config.Place(), err)
	}
	return &Backend{config: config, place: b.place, root: root, files: regular.NewFolder(root.Root), staging: staging, shared: true,
		buffers: pool.Small(), syncs: make(chan struct{}, syncsAtOnce)}, nil
}

// openFolder looks first what is there: opening a named pipe waits for a writer.
func openFolder(path string) (*os.Root, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errNotFolder
	}
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(path)
}

// Close closes the folder.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := []error{b.files.Close()}
	if b.root != nil { // Open may have failed before
		errs = append(errs, b.root.Close())
	}
	if !b.shared {
		if b.staging != nil {
			errs = append(errs, b.staging.Close())
		}
		errs = append(errs, b.place.Close())
	}
	return errors.Join(errs...)
}

// stagingFolder returns the staging folder, and creates it durably if it is missing.
func (b *Backend) stagingFolder() (*top, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.staging == nil {
		staging, err := enterTop(b.place, storage.StagingPrefix)
		if err != nil {
			return nil, placeError("open the staging folder in", b.config.Path, err)
		}
		b.staging = staging
	}
	return b.staging, nil
}

// Health compares the folder at the path with the opened one: an unmounted volume
// leaves an empty mount point behind.
func (b *Backend) Health(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	opened, err := b.root.Stat(".")
	if err != nil {
		return placeError("stat the folder", b.config.Place(), err)
	}
	there, err := os.Stat(b.config.Place())
	if err != nil {
		return placeError("stat the folder", b.config.Place(), err)
	}
	if !os.SameFile(opened, there) {
		return &storage.PlaceError{Kind: storage.ErrNoPlace, Reason: storage.ReasonFolderNotFound,
			Message: "the folder " + b.config.Place() + " was replaced after it was opened"}
	}
	return nil
}

// removeLeftovers removes what crashed uploads left in staging. A failure is ignored:
// leftovers are harmless.
func (b *Backend) removeLeftovers(before time.Time) {
	if b.staging == nil {
		return
	}
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

// enter opens a folder below root, and creates it durably if it is missing.
func enter(root *os.Root, name string) (*os.Root, error) {
	if name == "." {
		return root.OpenRoot(name)
	}
	for at := range segments(name) {
		if err := makeFolder(root, at); err != nil {
			return nil, err
		}
	}
	// As in openFolder.
	info, err := root.Stat(name)
	if err == nil && !info.IsDir() {
		err = errNotFolder
	}
	if err != nil {
		return nil, err
	}
	return root.OpenRoot(name)
}

func enterTop(root *os.Root, name string) (*top, error) {
	entered, err := enter(root, name)
	if err != nil {
		return nil, err
	}
	opened, err := newTop(root, name, entered)
	if err != nil {
		return nil, errors.Join(err, entered.Close())
	}
	return opened, nil
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

// makeFolder creates one folder and fsyncs its parent, even if another process
// created it: that process may not have fsynced yet.
func makeFolder(root *os.Root, name string) error {
	if err := root.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(root, path.Dir(name))
}

// synced is Sync, except that it names a file system that cannot do it.
func synced(file *os.File) error { return explainSync(file.Sync()) }

func explainSync(err error) error {
	for _, unable := range []error{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS} {
		if errors.Is(err, unable) {
			return errNoSync
		}
	}
	return err
}

func syncFolder(root *os.Root, name string) error {
	if !foldersSync {
		return nil
	}
	folder, err := root.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // opened for reading only
	return synced(folder)
}

// MakeFolder is os.MkdirAll of a folder that survives a power cut: the parent of each
// folder that it creates is fsynced. That of the folder it finds is too: who created it
// may have been killed before the fsync.
func MakeFolder(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: name, Err: errNotFolder}
	}
	above := filepath.Dir(name)
	if err == nil {
		syncNamed(above) //nolint:errcheck // an old folder may be in one that this process may not open
		return nil
	}
	if above != name {
		if err := MakeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncNamed(above)
}

func syncNamed(name string) error {
	if !foldersSync {
		return nil
	}
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // opened for reading only
	return synced(folder)
}
