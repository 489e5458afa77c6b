package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/manifest"
)

// checkExtras finds, before anything is written, what is in the way of folders and links,
// and links that lie above an entry of the package. It returns the links to make.
func (t *target) checkExtras(m *manifest.Manifest, force bool) ([]manifest.Link, error) {
	plain := make(map[string]bool) // folders that are no links, or do not exist
	for i := range m.Files {
		if err := t.checkAbove(m.Files[i].Path, plain); err != nil {
			return nil, err
		}
	}
	for _, f := range m.Folders {
		if err := t.checkAbove(f.Path+"/.", plain); err != nil {
			return nil, err
		}
	}
	var missing []manifest.Link
	for _, l := range m.Links {
		if err := t.checkAbove(l.Path, plain); err != nil {
			return nil, err
		}
		there, err := t.hasLink(l)
		switch {
		case err != nil:
			return nil, err
		case there == linkDiffers && !force:
			return nil, fmt.Errorf("%s: exists and differs from the package; --force overwrites it", t.display(l.Path))
		case there != linkSame:
			missing = append(missing, l)
		}
	}
	return missing, nil
}

// checkAbove refuses a path below a link, or below what is no folder: pull writes through
// no link, even if it stays in the target.
func (t *target) checkAbove(name string, plain map[string]bool) error {
	folder := path.Dir(name)
	if folder == "." || plain[folder] {
		return nil
	}
	if err := t.checkAbove(folder, plain); err != nil {
		return err
	}
	info, err := t.root.Lstat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s: %w", t.display(folder), err)
	case info.Mode().Type() == fs.ModeSymlink:
		return fmt.Errorf("%s: is a symbolic link, but a folder in the package, and nothing is written through links: remove it", t.display(folder))
	case !info.IsDir():
		return fmt.Errorf("%s: is a file, but a folder in the package: remove it", t.display(folder))
	}
	plain[folder] = true
	return nil
}

// What is where a link belongs.
const (
	linkMissing = iota
	linkSame
	linkDiffers
)

func (t *target) hasLink(l manifest.Link) (int, error) {
	info, err := t.root.Lstat(l.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return linkMissing, nil
	case err != nil:
		return 0, fmt.Errorf("%s: %w", t.display(l.Path), err)
	case info.IsDir():
		return 0, fmt.Errorf("%s: is a folder, but a symbolic link in the package: remove it", t.display(l.Path))
	case info.Mode().Type() != fs.ModeSymlink:
		return linkDiffers, nil
	}
	if points, err := t.root.Readlink(l.Path); err != nil || points != l.Target {
		return linkDiffers, err
	}
	return linkSame, nil
}

// makeFolders makes the folders that are listed. Until all is in them they can be written
// to, by nobody to whom the recorded mode denies it but the user.
func (t *target) makeFolders(folders []manifest.Folder) error {
	for _, f := range folders {
		if err := t.makeFolder(path.Dir(f.Path)); err != nil {
			return err
		}
		mode := fs.FileMode(folderMode)
		if f.Mode.Recorded() {
			mode = f.Mode.Perm() | 0o700
		}
		if err := t.root.Mkdir(f.Path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// finish makes links, once all files are there, and then gives folders their modes, the
// deepest first.
func (t *target) finish(links []manifest.Link, folders []manifest.Folder) error {
	if len(links) > 0 {
		if err := t.root.Mkdir(t.staging, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for i, l := range links {
		if err := t.makeFolder(path.Dir(l.Path)); err != nil {
			return err
		}
		staged := path.Join(t.staging, "link-"+strconv.Itoa(i))
		if err := t.root.Symlink(l.Target, staged); err != nil {
			return err
		}
		if err := t.root.Rename(staged, l.Path); err != nil {
			return err
		}
	}
	for _, f := range slices.Backward(folders) { // they are sorted: what is below comes later
		if !f.Mode.Recorded() {
			continue
		}
		info, err := t.root.Lstat(f.Path)
		if err != nil {
			return err
		}
		if info.Mode().Perm() == f.Mode.Perm() {
			continue
		}
		if err := t.root.Chmod(f.Path, f.Mode.Perm()); err != nil {
			return err
		}
	}
	return nil
}
