package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/regular"
)

// localFile is a file on disk that becomes, or is compared with, a file of a package.
type localFile struct {
	path       string      // in the package: "/"-separated, relative
	name       string      // on disk
	info       fs.FileInfo // from the walk; the file opened later must be the same
	executable bool
	digests    digest.Dual // set by hashFiles
	content    []byte      // set by hashFiles for small files, within the budget
}

func (f *localFile) size() int64 { return f.info.Size() }

func (f *localFile) manifestFile() manifest.File {
	return manifest.File{Path: f.path, Size: f.size(), Digests: f.digests, Executable: f.executable}
}

func totalSize(files []localFile) (sum int64) {
	for i := range files {
		sum += files[i].size()
	}
	return sum
}

// collectFiles finds the files that the arguments of push name: the content of
// one folder, or files by their base names. The result is sorted by path.
func collectFiles(args []string, followSymlinks bool) ([]localFile, error) {
	w := walker{follow: followSymlinks}
	for _, arg := range args {
		// The argument itself may be a link to a folder: the user meant the folder.
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		switch {
		case info.IsDir() && len(args) > 1:
			return nil, usage("%s: a folder must be the only argument", arg)
		case info.IsDir():
			err = w.folder(arg, "", []fs.FileInfo{info})
		default:
			info, err = os.Lstat(arg)
			if err == nil {
				err = w.entry(arg, filepath.Base(arg), info, nil)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(w.files, func(a, b localFile) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(w.files); i++ {
		if w.files[i].path == w.files[i-1].path {
			return nil, usage("%s and %s have the same name", w.files[i-1].name, w.files[i].name)
		}
	}
	return w.files, nil
}

type walker struct {
	follow bool
	files  []localFile
}

// folder adds the content of name. above holds the parent folders, to detect a
// link back to one of them.
func (w *walker) folder(name, path string, above []fs.FileInfo) error {
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		below := entry.Name()
		if path != "" {
			below = path + "/" + below
		}
		if err := w.entry(filepath.Join(name, entry.Name()), below, info, above); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(name, path string, info fs.FileInfo, above []fs.FileInfo) error {
	if info.Mode().Type() == fs.ModeSymlink {
		if !w.follow {
			return fmt.Errorf("%s: is a symbolic link, which a package cannot contain; --follow-symlinks pushes what it points to", name)
		}
		var err error
		if info, err = os.Stat(name); err != nil {
			return err
		}
	}
	switch {
	case info.IsDir():
		if slices.ContainsFunc(above, func(up fs.FileInfo) bool { return os.SameFile(up, info) }) {
			return fmt.Errorf("%s: is a symbolic link to one of its parent folders", name)
		}
		return w.folder(name, path, append(above[:len(above):len(above)], info))
	case info.Mode().IsRegular():
		if err := manifest.ValidatePath(path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		w.files = append(w.files, localFile{path: path, name: name, info: info, executable: info.Mode()&0o111 != 0})
		return nil
	default:
		return fmt.Errorf("%s: is a %s; a package contains only regular files", name, regular.KindOf(info.Mode()))
	}
}

// changedError says that the file on disk is no longer the one that was hashed.
type changedError struct{ name string }

func (e *changedError) Error() string { return e.name + ": changed while it was being read" }

// open opens the file if it is still the one that the walk found.
func (f *localFile) open() (*os.File, error) {
	file, err := regular.Open(f.name)
	if kind := (*regular.KindError)(nil); errors.As(err, &kind) {
		return nil, &changedError{f.name}
	}
	if err != nil {
		return nil, err
	}
	if !f.unchanged(file) {
		file.Close()
		return nil, &changedError{f.name}
	}
	return file, nil
}

// unchanged compares identity, size and time; the digests decide in the end.
func (f *localFile) unchanged(file *os.File) bool {
	now, err := file.Stat()
	return err == nil && os.SameFile(f.info, now) && now.Size() == f.size() && now.ModTime().Equal(f.info.ModTime())
}
