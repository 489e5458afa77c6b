package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// foldersSync: a folder can be synced, and must be for its names to be durable.
const foldersSync = true

// top is the open folder below which names are resolved. os.Root opens and closes every
// folder on the way to a name in each of its calls: a put made 20 system calls for them.
type top struct {
	*os.Root
	file *os.File // the same folder
	raw  syscall.RawConn
}

func newTop(_ *os.Root, _ string, root *os.Root) (*top, error) {
	file, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &top{root, file, raw}, nil
}

// Close closes the folder.
func (t *top) Close() error { return errors.Join(t.file.Close(), t.Root.Close()) }

// enter opens a folder. The kernel resolves the name, and no link leads it out of top.
// What it does not do, or refuses, is left to os.Root, and so is every error.
func (t *top) enter(name string) (folder, error) {
	f := folder{fd: -1}
	err := t.raw.Control(func(fd uintptr) {
		how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
		if opened, err := unix.Openat2(int(fd), name, &how); err == nil {
			f.fd = opened
		}
	})
	if err != nil || f.fd >= 0 {
		return f, err
	}
	file, err := t.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return f, err
	}
	return folder{int(file.Fd()), file}, nil
}

// folder is an open folder, in which names of one element are used.
type folder struct {
	fd   int
	file *os.File // that has fd, or nil
}

func (f folder) close() {
	if f.file != nil {
		f.file.Close() //nolint:errcheck // opened for reading only
		return
	}
	unix.Close(f.fd) //nolint:errcheck // opened for reading only
}

// make creates a folder in f durably, if it is missing. f is synced even if another process
// created it: that process may not have done so yet.
func (f folder) make(name string) error {
	err := again(func() error { return unix.Mkdirat(f.fd, name, dirMode) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "mkdirat", Path: name, Err: err}
	}
	return f.sync()
}

// take moves a file of another folder to a name in f.
func (f folder) take(from *top, name, as string) error {
	var err error
	if closed := from.raw.Control(func(fd uintptr) {
		err = again(func() error { return unix.Renameat(int(fd), name, f.fd, as) })
	}); closed != nil {
		return closed
	}
	if err != nil {
		return &os.LinkError{Op: "renameat", Old: name, New: as, Err: err}
	}
	return nil
}

func (f folder) sync() error {
	return explainSync(again(func() error { return unix.Fsync(f.fd) }))
}

// again repeats a system call that a signal has interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
