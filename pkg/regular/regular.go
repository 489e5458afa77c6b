// Package regular opens regular files and nothing else. Opening a named pipe waits
// for a writer and reading a device may never end, so a program that meets one in
// place of a file would hang.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// KindError says that something else is where a regular file should be.
type KindError struct{ Name, Kind string }

func (e *KindError) Error() string { return e.Name + " is a " + e.Kind + ", not a regular file" }

// Open opens a file for reading, through links. A *KindError if it is not a regular file.
func Open(name string) (*os.File, error) {
	// Before opening, since that alone may do something to a device.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &KindError{name, KindOf(info.Mode())}
	}
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if _, err = check(file, name); err != nil {
		return nil, err
	}
	return file, nil
}

// OpenIn is Open of a name below root, and returns what Stat says of it.
func OpenIn(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		if info, statErr := root.Stat(name); statErr == nil && !info.Mode().IsRegular() {
			err = &KindError{name, KindOf(info.Mode())}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := check(file, name)
	if err != nil {
		return nil, nil, err
	}
	return file, info, nil
}

// check closes the file unless it is regular.
func check(file *os.File, name string) (fs.FileInfo, error) {
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &KindError{name, KindOf(info.Mode())}
	}
	if err != nil {
		file.Close() //nolint:errcheck // opened for reading only
	}
	return info, err
}

// Read returns the content of a regular file of at most most bytes.
func Read(name string, most int64) ([]byte, error) {
	file, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s: larger than %d bytes", name, most)
	}
	return content, err
}

// KindOf names what a mode is, if it is not a regular file.
func KindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	default:
		return "special file"
	}
}
