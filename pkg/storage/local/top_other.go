//go:build !linux

package local

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"
)

// foldersSync: Windows cannot sync a folder; NTFS has a journal of names.
const foldersSync = runtime.GOOS != "windows"

// top is the open folder below which names are resolved. Here os.Root does it all:
// a backend is served from Linux, and read by artifactstore elsewhere.
type top struct {
	*os.Root
	place *os.Root // which has top at a name
	at    string
}

func newTop(place *os.Root, at string, root *os.Root) (*top, error) {
	return &top{root, place, at}, nil
}

// enter opens a folder; no link leads it out of top.
func (t *top) enter(name string) (folder, error) {
	opened, err := t.OpenRoot(name)
	return folder{opened, t.place, path.Join(t.at, name)}, err
}

// folder is an open folder, in which names of one element are used.
type folder struct {
	root  *os.Root
	place *os.Root // which has the folder at a name
	at    string
}

func (f folder) close() { f.root.Close() } //nolint:errcheck // opened for reading only

// make creates a folder in f durably, if it is missing.
func (f folder) make(name string) error {
	if err := f.root.Mkdir(name, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.sync()
}

// take moves a file of another folder to a name in f.
func (f folder) take(from *top, name, as string) error {
	return f.place.Rename(path.Join(from.at, name), path.Join(f.at, as))
}

func (f folder) sync() error { return syncFolder(f.root, ".") }
