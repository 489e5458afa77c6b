package regular

import (
	"os"

	"golang.org/x/sys/unix"
)

// beneath opens a file; nil if it could not, for whatever reason: kernels before 5.6 and
// some sandboxes do not have this call.
func (f *Folder) beneath(name string) *os.File {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	fd := -1
	closed := f.conn.Control(func(folder uintptr) {
		opened, err := unix.Openat2(int(folder), name, &how)
		if err == nil {
			fd = opened
		}
	})
	if closed != nil || fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), f.root.Name()+"/"+name)
}
