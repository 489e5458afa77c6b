package strace

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
)

// Settle ends the calls of a killed program that have not returned. Whether such a call
// had its effect is looked up in the file system, which nobody has changed since. An
// fsync counts as one that has not returned, and so does a write at an offset that is not
// known (to a file in which nobody else writes).
func Settle(events []Event) ([]Event, error) {
	var running []*Call
	for _, e := range events {
		if !e.End {
			running = append(running, e.Call)
		} else if at := slices.Index(running, e.Call); e.Returned {
			running = slices.Delete(running, at, at+1)
		}
	}
	for _, c := range running {
		happened, err := c.happened()
		if err != nil {
			return nil, err
		}
		if happened {
			c.Returned = true
			events = append(events, Event{c, true})
		}
	}
	return events, nil
}

func (c *Call) happened() (bool, error) {
	a := c.Args
	switch c.Name {
	case "mkdir", "open", "creat":
		return exists("", a[0])
	case "mkdirat", "openat":
		return exists(a[0], a[1])
	case "link":
		return exists("", a[1])
	case "linkat":
		return exists(a[2], a[3])
	case "unlink", "rmdir", "rename":
		there, err := exists("", a[0])
		return !there, err
	case "unlinkat", "renameat":
		there, err := exists(a[0], a[1])
		return !there, err
	case "pwrite64":
		return c.wrote()
	}
	return false, nil
}

func exists(folder, name string) (bool, error) {
	if !path.IsAbs(name) {
		name = path.Join(pathOf(folder), name)
	}
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// wrote reports whether the bytes of a pwrite64 are where it put them.
func (c *Call) wrote() (bool, error) {
	file, err := os.Open(pathOf(c.Args[0]))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	at, err := strconv.ParseInt(c.Args[3], 10, 64)
	if err != nil {
		return false, err
	}
	there := make([]byte, len(c.Args[1]))
	n, _ := file.ReadAt(there, at)
	c.Result = int64(n)
	return bytes.Equal(there[:n], []byte(c.Args[1])), nil
}
