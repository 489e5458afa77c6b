package database

import (
	"errors"
	"io/fs"
	"os"
)

// file is SQLite's, as it was when it was opened.
type file struct {
	path string
	info fs.FileInfo
}

func openedFile(path string) (*file, error) {
	info, err := os.Stat(path)
	return &file{path, info}, err
}

var errMoved = errors.New("another file, or none, is in its place")

// inPlace returns an ErrUnavailable if SQLite's file is no longer where it was opened:
// somebody removed it, or put a backup in its place. SQLite goes on with the file that it
// has open, and what is written there is lost with the process; a new connection would
// read the other one.
func (db *DB) inPlace() error {
	if db.file == nil {
		return nil
	}
	now, err := os.Stat(db.file.path)
	// Of any other error SQLite tells itself, if it matters.
	if err == nil && !os.SameFile(now, db.file.info) || errors.Is(err, fs.ErrNotExist) {
		return &UnavailableError{Reason: reasonMoved, cause: errMoved}
	}
	return nil
}
