package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockData keeps a second manager from serving one SQLite data folder: both
// would write statuses and verify, and neither would see the other's table.
// The kernel releases the lock when the process ends, however it ends.
func lockData(o options) (unlock func(), err error) {
	if !o.sqlite() {
		return func() {}, nil // PostgreSQL serves several replicas
	}
	name := filepath.Join(o.dataDir, "manager.lock")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("--data-dir: another manager serves %s (%s is locked); several managers need PostgreSQL", o.dataDir, name)
	}
	return func() { file.Close() }, nil //nolint:errcheck // nothing was written
}
