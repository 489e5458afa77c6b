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
	"slices"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
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
	keeps   bool            // staging is the folder that the next pull finds
	lock    *os.File        // of that folder, while this pull uses it
	claimed sync.Map        // parts of files that are used
	folders sync.Map        // already created
	modes   []manifest.File // kept, with a wrong executable bit

	patience client.Patience
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
	return &target{name: dir, root: root, staging: stagingPrefix + "-" + uuid.NewString()}, nil
}

// close removes unfinished files but for those that the next pull can go on with: it
// returns how many bytes these have.
func (t *target) close(done bool) (kept int64) {
	kept = t.leave(done)
	t.root.Close()
	return kept
}

func (t *target) display(path string) string { return filepath.Join(t.name, filepath.FromSlash(path)) }

// differsError lists the files that are there and are not those of the package.
type differsError struct {
	dir      string
	paths    []string // that --force overwrites
	inTheWay []string // sentences
}

func (e *differsError) Error() string {
	switch n := len(e.paths); {
	case len(e.inTheWay) > 0:
		return e.inTheWay[0]
	case n == 1:
		return e.paths[0] + ": exists and differs from the package; --force overwrites it"
	default:
		return fmt.Sprintf("%s: %d files exist and differ from the package; --force overwrites them", e.dir, n)
	}
}

// lines are all of them, if there are several.
func (e *differsError) lines() []string {
	if len(e.paths)+len(e.inTheWay) < 2 {
		return nil
	}
	lines := slices.Clone(e.inTheWay)
	for _, path := range e.paths {
		lines = append(lines, path+": differs")
	}
	return lines
}

// compare returns the files that must be fetched. An existing file that matches is
// kept, and correctModes corrects its executable bit; those that differ are a
// *differsError unless force is set. It changes nothing.
func (t *target) compare(ctx context.Context, files []manifest.File, force bool, progress *meter) ([]manifest.File, error) {
	var missing, sameSize []manifest.File
	var found []localFile // on disk, one for each of sameSize
	all := &differsError{dir: t.name}
	differs := func(f manifest.File) {
		if !force {
			all.paths = append(all.paths, t.display(f.Path))
		}
		missing = append(missing, f)
	}
	for _, f := range files {
		info, err := t.root.Lstat(f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, f)
		case err != nil:
			all.inTheWay = append(all.inTheWay, fmt.Sprintf("%s: %v", t.display(f.Path), err))
		case info.IsDir():
			all.inTheWay = append(all.inTheWay, t.display(f.Path)+": is a folder, but a file in the package")
		case info.Mode().IsRegular() && info.Size() == f.Size:
			sameSize = append(sameSize, f)
			found = append(found, localFile{path: f.Path, name: t.display(f.Path), info: info})
		default:
			differs(f)
		}
	}
	// Opening by name, not through the root, is safe: the opened file must be
	// the one that the root found.
	progress.expect(totalSize(found), len(found))
	if err := hashFiles(ctx, found, 0, progress); err != nil {
		return nil, err
	}
	for i, f := range sameSize {
		if found[i].digests != f.Digests {
			differs(f)
		} else if !hasMode(found[i].info.Mode(), f) {
			t.modes = append(t.modes, f)
		}
	}
	if len(all.paths)+len(all.inTheWay) > 0 {
		return nil, all
	}
	return missing, nil
}

// correctModes corrects the executable bits of files that are kept.
func (t *target) correctModes() error {
	for _, f := range t.modes {
		if err := t.root.Chmod(f.Path, modeOf(f)); err != nil {
			return err
		}
	}
	return nil
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
func (t *target) fetch(ctx context.Context, blobs registry.Blobs, files []manifest.File, concurrency int, progress *meter) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, f := range files {
		if working.Err() != nil {
			break
		}
		group.Go(func() error {
			return named(t.display(f.Path), t.fetchOne(working, blobs, f, path.Join(t.staging, strconv.Itoa(i)), progress))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// fetchOne writes to a temporary name, verifies, and only then renames.
func (t *target) fetchOne(ctx context.Context, blobs registry.Blobs, f manifest.File, staged string, progress *meter) (err error) {
	if f.Size > smallFile {
		staged, err = t.fetchLarge(ctx, blobs, f, staged, progress)
	} else {
		err = t.fetchSmall(ctx, blobs, f, staged, progress)
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
	if err == nil {
		progress.file(1)
	}
	return err
}

func (t *target) fetchSmall(ctx context.Context, blobs registry.Blobs, f manifest.File, staged string, progress *meter) error {
	content := smallBuffers.Get().(*bytes.Buffer)
	defer smallBuffers.Put(content)
	if err := receiveSmall(ctx, blobs, t.patience, f, content); err != nil {
		return err
	}
	progress.add(f.Size)
	file, err := t.root.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(content.Bytes())
	if closed := file.Close(); err == nil {
		err = closed
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

// receiveSmall reads exactly the bytes of f into memory, or fails.
func receiveSmall(ctx context.Context, blobs registry.Blobs, patience client.Patience, f manifest.File, into *bytes.Buffer) error {
	into.Reset()
	body := client.ReadBlob(ctx, blobs, patience, f.Digests.SHA256, 0, f.Size)
	defer body.Close() //nolint:errcheck // it was only read
	// One extra byte is enough to detect a body that is too long.
	n, err := into.ReadFrom(io.LimitReader(body, f.Size+1))
	if err != nil {
		return err
	}
	return checkReceived(f, digest.Of(into.Bytes()), n)
}
