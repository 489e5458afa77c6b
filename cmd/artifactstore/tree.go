package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/cmd/artifactstore/selection"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/regular"
)

// localFile is a file on disk that becomes, or is compared with, a file of a package.
type localFile struct {
	path       string      // in the package: "/"-separated, relative
	name       string      // on disk
	info       fs.FileInfo // from the walk; the file opened later must be the same
	mode       fs.FileMode // as it was found
	executable bool
	recorded   manifest.Mode // none, or that of mode
	digests    digest.Dual   // set by hashFiles
	privateKey bool          // set by hashFiles
	allowed    bool          // even if it is a secret
	content    []byte        // set by hashFiles for small files, within the budget
}

func newLocalFile(path, name string, info fs.FileInfo, mode fs.FileMode, recorded bool) localFile {
	f := localFile{path: path, name: name, info: info, mode: mode, executable: mode&0o111 != 0}
	if recorded {
		f.recorded = manifest.ModeOf(mode)
	}
	return f
}

func (f *localFile) size() int64 { return f.info.Size() }

func (f *localFile) manifestFile() manifest.File {
	return manifest.File{Path: f.path, Size: f.size(), Digests: f.digests, Executable: f.executable, Mode: f.recorded}
}

func totalSize(files []localFile) (sum int64) {
	for i := range files {
		sum += files[i].size()
	}
	return sum
}

// localTree is what push sends: files, and what else is recorded of them.
type localTree struct {
	files   []localFile
	links   []manifest.Link
	folders []localFolder // all of them, below the root
	leftOut []leftOut
	matched map[string]bool // texts of --exclude
	found   []foundSecret
	temp    string // folder of files that are spooled, "" if there is none
}

// localFolder is a folder by its path in the package.
type localFolder struct {
	path string
	mode fs.FileMode
	keep bool // its mode is recorded
}

// leftOut is an entry that is not pushed, and what says so.
type leftOut struct {
	Path string `json:"path"`
	Size *int64 `json:"size,omitempty"` // of a file
	Why  string `json:"why"`
}

func newLeftOut(path, why string, info fs.FileInfo) leftOut {
	left := leftOut{Path: path, Why: why}
	if info != nil && info.Mode().IsRegular() {
		size := info.Size()
		left.Size = &size
	}
	return left
}

// close removes what was spooled. It may be called again.
func (t *localTree) close() {
	if t.temp != "" {
		os.RemoveAll(t.temp) // best effort: it is a folder for temporary files
	}
}

// walker gathers the entries of one folder or file.
type walker struct {
	walkOptions
	into    *localTree
	prefix  string // of paths in the package, "" or with a slash at its end
	root    string // the folder itself, without links, to tell what is outside; "" of a file
	ignored selection.Ignored
}

// walkOptions say how folders are read.
type walkOptions struct {
	follow   bool             // push what links point to
	modes    bool             // record permission bits
	exclude  []selection.Glob // by paths in the package
	ignore   bool             // obey ignore files
	secrets  bool             // stop at secrets
	included []string         // paths of secrets that are allowed
	anyLink  bool             // take links that no package has: they are only compared
}

// folder adds the content of name. above holds the parent folders, to detect a
// link back to one of them.
func (w *walker) folder(name, path string, above []fs.FileInfo) error {
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	if w.ignore {
		if err := w.readIgnoreFile(name, path, entries); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if err := w.entry(filepath.Join(name, entry.Name()), below(path, entry.Name()), info, above); err != nil {
			return err
		}
	}
	return nil
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// readIgnoreFile reads the ignore file of a folder, if it has one.
func (w *walker) readIgnoreFile(name, path string, entries []fs.DirEntry) error {
	is := func(e fs.DirEntry) bool { return e.Name() == selection.IgnoreFile && e.Type().IsRegular() }
	if !slices.ContainsFunc(entries, is) {
		return nil
	}
	name = filepath.Join(name, selection.IgnoreFile)
	file, err := regular.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return addIgnoreFile(&w.ignored, path, name, file)
}

// entry adds what is at name. Its path is that below the folder that was named.
func (w *walker) entry(name, path string, info fs.FileInfo, above []fs.FileInfo) error {
	link := info.Mode().Type() == fs.ModeSymlink
	var failed error
	if link && w.follow {
		if to, err := w.followed(name); err != nil {
			failed = err // which does not matter if it is left out
		} else {
			info = to
		}
	}
	packaged := w.prefix + path
	why, kept := w.decide(path, packaged, info.IsDir())
	if info.IsDir() && isStaging(path) && unfinishedPull(name) {
		why, kept = "unfinished files of a pull", false
	}
	if why != "" && !kept {
		w.into.leftOut = append(w.into.leftOut, newLeftOut(packaged, why, info))
		return nil
	}
	if failed != nil {
		return failed
	}
	if err := manifest.ValidatePath(packaged); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	allowed := kept || w.allows(packaged)
	if !allowed {
		if secret, err := w.into.noteSecret(name, packaged, info); err != nil || secret {
			return err
		}
	}
	switch {
	case info.IsDir():
		if slices.ContainsFunc(above, func(up fs.FileInfo) bool { return os.SameFile(up, info) }) {
			return fmt.Errorf("%s: is a symbolic link to one of its parent folders", name)
		}
		w.into.folders = append(w.into.folders, localFolder{packaged, info.Mode(), w.modes})
		return w.folder(name, path, append(above[:len(above):len(above)], info))
	case info.Mode().IsRegular():
		f := newLocalFile(packaged, name, info, info.Mode(), w.modes)
		f.allowed = allowed
		w.into.files = append(w.into.files, f)
		return nil
	case link && w.root != "":
		return w.link(name, packaged)
	case link:
		return fmt.Errorf("%s: is a symbolic link; --follow-symlinks pushes what it points to", name)
	default:
		return fmt.Errorf("%s: is a %s; a package contains only regular files, symbolic links and folders", name, regular.KindOf(info.Mode()))
	}
}

// followed describes what a link points to, which must be in the folder that was named.
func (w *walker) followed(name string) (fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err != nil || w.root == "" {
		return info, err
	}
	led, err := filepath.EvalSymlinks(name)
	if err == nil {
		led, err = filepath.Abs(led)
	}
	if err != nil {
		return nil, err
	}
	if within, err := filepath.Rel(w.root, led); err != nil || !filepath.IsLocal(within) {
		return nil, fmt.Errorf("%s: is a symbolic link to %s, outside of the folder that is pushed: leave it out with --exclude, or push the folder that has both", name, led)
	}
	return info, nil
}

// link adds a symbolic link as it is. Whether other links lead it out of the package is
// found out when the manifest is made.
func (w *walker) link(name, packaged string) error {
	target, err := os.Readlink(name)
	if err != nil {
		return err
	}
	target = filepath.ToSlash(target)
	if err := manifest.ValidateTarget(strings.TrimPrefix(packaged, w.prefix), target); err != nil && !w.anyLink {
		return fmt.Errorf("%s: is a symbolic link to %s: %w; leave it out with --exclude", name, target, err)
	}
	w.into.links = append(w.into.links, manifest.Link{Path: packaged, Target: target})
	return nil
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

// unfinishedPull reports whether a folder is what an interrupted pull has left.
func unfinishedPull(name string) bool {
	info, err := os.Lstat(filepath.Join(name, stagingLock))
	return err == nil && info.Mode().IsRegular() || filepath.Base(name) != stagingPrefix
}
