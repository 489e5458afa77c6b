package regular

import (
	"io/fs"
	"os"
	"syscall"
)

// Folder opens files below an os.Root. Where the kernel resolves a name as os.Root does,
// it is asked to: os.Root opens and closes every folder on the way.
type Folder struct {
	root *os.Root
	self *os.File        // the folder of root, nil if it cannot be opened
	conn syscall.RawConn // of self, which it keeps open during a call
}

// NewFolder returns one for root, which the caller closes after it.
func NewFolder(root *os.Root) *Folder {
	f := &Folder{root: root}
	self, err := root.Open(".")
	if err != nil {
		return f
	}
	if f.conn, err = self.SyscallConn(); err != nil {
		self.Close() //nolint:errcheck // nothing was done with it
		return f
	}
	f.self = self
	return f
}

// Close closes it. A nil Folder has nothing to close.
func (f *Folder) Close() error {
	if f == nil || f.self == nil {
		return nil
	}
	return f.self.Close()
}

// Open is OpenIn. The file may be used after Close.
func (f *Folder) Open(name string) (*os.File, fs.FileInfo, error) {
	if f.self != nil {
		if file := f.beneath(name); file != nil {
			info, err := check(file, name)
			if err != nil {
				return nil, nil, err
			}
			return file, info, nil
		}
	}
	return OpenIn(f.root, name) // it also finds the words for what the kernel refused
}
