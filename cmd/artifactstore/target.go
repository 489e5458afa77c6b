package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	fileMode       = 0o644
	executableMode = 0o755
	folderMode     = 0o755
)

// target is the folder that a package is pulled into. All access goes through
// an os.Root: no path and no symbolic link in the folder leads outside.
type target struct {
	name string
	root *os.Root
	// staging is a folder inside it for unchecked files: on the same file
	// system, so that a rename completes a file.
	staging string
	folders sync.Map // already created
}

// openTarget creates the folder if it is missing.
func openTarget(dir string) (*target, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &target{name: dir, root: root, staging: ".artifactstore-pull-" + uuid.NewString()}, nil
}

// close removes unfinished files.
func (t *target) close() {
	_ = t.root.RemoveAll(t.staging) // best effort: only this run uses it, and it is harmless
	t.root.Close()
}

func (t *target) display(path string) string { return filepath.Join(t.name, filepath.FromSlash(path)) }

// compare returns the files that must be fetched. An existing file that matches is
// kept, and its executable bit is corrected; one that differs is an error unless
// force is set.
func (t *target) compare(ctx context.Context, files []manifest.File, force bool, progress *meter) ([]manifest.File, error) {
	var missing, sameSize []manifest.File
	var found []localFile // on disk, one for each of sameSize
	differs := func(f manifest.File) error {
		if !force {
			return fmt.Errorf("%s: exists and differs from the package; --force overwrites it", t.display(f.Path))
		}
		missing = append(missing, f)
		return nil
	}
	for _, f := range files {
		info, err := t.root.Lstat(f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, f)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", t.display(f.Path), err)
		case info.IsDir():
			return nil, fmt.Errorf("%s: is a folder, but a file in the package", t.display(f.Path))
		case info.Mode().IsRegular() && info.Size() == f.Size:
			sameSize = append(sameSize, f)
			found = append(found, localFile{path: f.Path, name: t.display(f.Path), info: info})
		default:
			if err := differs(f); err != nil {
				return nil, err
			}
		}
	}
	// Opening by name, not through the root, is safe: the opened file must be
	// the one that the root found.
	if err := hashFiles(ctx, found, 0, progress); err != nil {
		return nil, err
	}
	for i, f := range sameSize {
		if found[i].digests != f.Digests {
			if err := differs(f); err != nil {
				return nil, err
			}
		} else if !hasMode(found[i].info.Mode(), f) {
			if err := t.root.Chmod(f.Path, modeOf(f)); err != nil {
				return nil, err
			}
		}
	}
	return missing, nil
}

func modeOf(f manifest.File) fs.FileMode {
	switch {
	case f.Mode.Recorded():
		return f.Mode.Perm()
	case f.Executable:
		return executableMode
	}
	return fileMode
}

// hasMode reports whether a file's permission bits are those that are recorded, or if
// none are, whether it is executable.
func hasMode(mode fs.FileMode, f manifest.File) bool {
	if f.Mode.Recorded() {
		return mode.Perm() == f.Mode.Perm()
	}
	return (mode&0o111 != 0) == f.Executable
}

// fetch gets the files, several in parallel, and stops at the first failure.
func (t *target) fetch(ctx context.Context, client registry.Blobs, files []manifest.File, concurrency int, progress *meter) error {
	if len(files) == 0 {
		return nil
	}
	if err := t.root.Mkdir(t.staging, 0o700); err != nil {
		return err
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, f := range files {
		if working.Err() != nil {
			break
		}
		group.Go(func() error {
			return named(t.display(f.Path), t.fetchOne(working, client, f, path.Join(t.staging, strconv.Itoa(i)), progress))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// fetchOne writes to a temporary name, verifies, and only then renames.
func (t *target) fetchOne(ctx context.Context, client registry.Blobs, f manifest.File, staged string, progress *meter) error {
	body, _, err := client.OpenBlob(ctx, f.Digests.SHA256, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := t.root.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	err = receive(file, progress.reader(body), f)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil && (f.Executable || f.Mode.Recorded()) {
		err = t.root.Chmod(staged, modeOf(f))
	}
	if err == nil {
		err = t.makeFolder(path.Dir(f.Path))
	}
	if err == nil {
		err = t.root.Rename(staged, f.Path)
	}
	return err
}

// makeFolder creates a folder and its parents, once.
func (t *target) makeFolder(dir string) error {
	if _, made := t.folders.Load(dir); made {
		return nil
	}
	if err := t.root.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	t.folders.Store(dir, nil)
	return nil
}

var smallBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// receive copies exactly the bytes of f from body to file, or fails. A complete
// body with other bytes is an integrity failure.
func receive(file io.Writer, body io.Reader, f manifest.File) error {
	// One extra byte is enough to detect a body that is too long.
	body = io.LimitReader(body, f.Size+1)
	var (
		sum digest.Dual
		n   int64
		err error
	)
	if f.Size <= smallFile {
		buffer := smallBuffers.Get().(*bytes.Buffer)
		defer smallBuffers.Put(buffer)
		buffer.Reset()
		if n, err = buffer.ReadFrom(body); err == nil {
			sum = digest.Of(buffer.Bytes())
			_, err = file.Write(buffer.Bytes())
		}
	} else {
		sum, n, err = digest.Copy(file, body)
	}
	if err != nil {
		return err
	}
	if err := (storage.Source{Size: f.Size, Want: f.Digests}).Check(sum, n); err != nil {
		return fmt.Errorf("wrong content from the registry: %w", err)
	}
	return nil
}
