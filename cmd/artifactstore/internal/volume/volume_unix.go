//go:build linux || darwin || freebsd

package volume

import (
	"io/fs"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func free(folder string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return 0, err
	}
	blocks, size := uint64(stat.Bavail), uint64(stat.Bsize) //nolint:gosec,unconvert // types differ between systems
	if stat.Blocks == 0 || size == 0 {
		return 0, ErrUnknown // a file system without a size
	}
	if blocks > math.MaxInt64/size {
		return math.MaxInt64, nil
	}
	return int64(blocks * size), nil //nolint:gosec // checked above
}

func tryLock(file *os.File) bool {
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

func onlyOurs(folder fs.FileInfo) bool {
	stat, is := folder.Sys().(*syscall.Stat_t)
	return is && int(stat.Uid) == os.Geteuid() && folder.Mode().Perm()&0o022 == 0
}
