// Package volume asks what a file system can do: how much fits into it, and whether a
// file is in use by another process.
package volume

import (
	"errors"
	"io/fs"
	"os"
)

// ErrUnknown: the system does not tell.
var ErrUnknown = errors.New("the system does not tell")

// Free returns how many bytes the user may still write below the folder. ErrUnknown.
func Free(folder string) (int64, error) { return free(folder) }

// TryLock locks a file until it is closed, and reports whether no other process has it
// locked. A system without such locks refuses it.
func TryLock(file *os.File) bool { return tryLock(file) }

// OnlyOurs reports whether a folder belongs to the user of this process, and nobody else
// may write into it. Where the system has no such bits it is true.
func OnlyOurs(folder fs.FileInfo) bool { return onlyOurs(folder) }
