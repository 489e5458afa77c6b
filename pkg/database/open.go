package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/coulomb/artifact-store/pkg/database/prepared"
)

var errScheme = errors.New("--database: expected sqlite:///path or postgres://user:password@host:port/database")

// Open connects to the database that the URL names. It creates a missing SQLite file
// (whose folder must exist).
//
//	sqlite:///abs/path    sqlite://relative/path    postgres://user:password@host:port/database?sslmode=…
//
// A URL of PostgreSQL may name several hosts, host1:port1,host2:port2: whichever is
// read-write is used. No wait for PostgreSQL is without a bound; see limits.go.
//
// SQLite runs in WAL mode with synchronous=FULL: committed data survives a power
// failure. No error of this package contains the URL's password.
func Open(ctx context.Context, rawURL string) (*DB, error) {
	scheme, rest, found := strings.Cut(rawURL, "://")
	var db *DB
	var err error
	switch {
	case found && scheme == "sqlite":
		db, err = openSQLite(ctx, rest)
	case found && (scheme == "postgres" || scheme == "postgresql"):
		db, err = openPostgreSQL(ctx, rawURL)
	default:
		return nil, errScheme
	}
	if err != nil {
		return nil, err
	}
	db.group = db.NewGroup(Hooks{})
	return db, nil
}

func openSQLite(ctx context.Context, escaped string) (*DB, error) {
	path, err := url.PathUnescape(escaped)
	if err != nil || path == "" || strings.ContainsAny(escaped, "?#") || strings.Contains(path, "\x00") {
		return nil, fmt.Errorf("--database: expected sqlite:///path, with ? # and %% percent-encoded and no parameters, not %.200q", "sqlite://"+escaped)
	}
	if path == ":memory:" || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("--database: sqlite needs the path of a file, not %.200q", path)
	}
	// The driver splits at the first "?"; SQLite decodes the rest of a file: URI.
	name := "file:" + (&url.URL{Path: path}).EscapedPath()
	if !strings.HasPrefix(path, "/") {
		name = "file:" + strings.TrimPrefix((&url.URL{Path: path}).EscapedPath(), "./")
	}
	if err := syncWAL(path); err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	all := []string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), // first, because the others may have to wait
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}
	pragmas := url.Values{"_pragma": append(slices.Clip(all), fmt.Sprintf("cache_size(-%d)", writerCache>>10))}
	writer, err := prepared.Open(name + "?" + pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	writer.SetMaxOpenConns(1)
	writer.SetMaxIdleConns(1)
	pragmas = url.Values{"_pragma": all, "_query_only": {"1"}} // readers have the default cache, 2 MiB each
	reader, err := prepared.Open(name + "?" + pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, errors.Join(err, writer.Close()))
	}
	reader.SetMaxOpenConns(maxReaders)
	reader.SetMaxIdleConns(maxReaders)
	reader.SetConnMaxIdleTime(readerIdle) // each has some megabytes of pages
	db := &DB{engine: SQLite, write: writer, read: reader, redact: func(err error) error { return err }, gated: new(atomic.Bool)}
	// Switching a new file to WAL fails immediately, whatever the busy timeout, while another process does the same.
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for n := 1; ; n++ {
		err = errors.Join(writer.PingContext(ctx), reader.PingContext(ctx))
		if err == nil {
			db.file, err = openedFile(path)
		}
		if err == nil {
			err = sortBeside(ctx, writer, path)
		}
		if err == nil {
			return db, nil
		}
		if !retryable(err) || !retries.Wait(ctx, n) {
			return nil, fmt.Errorf("opening %s: %w", path, errors.Join(err, reader.Close(), writer.Close()))
		}
	}
}

// syncWAL keeps what a killed process has written to SQLite's log and not synced. SQLite
// takes it for committed, without a sync of its own, and what we answer about it must
// survive a power cut.
func syncWAL(path string) error {
	wal, err := os.OpenFile(path+"-wal", os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place must not hang us
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer wal.Close() //nolint:errcheck // opened for reading only; SQLite's locks, which closing would release, are on other files
	return wal.Sync()
}

// sortBeside has SQLite make the files in which it sorts beside the database's: the
// machine's folder for temporary files may be small, or memory. The setting is of the whole
// process; if the folder goes away, SQLite uses the machine's.
func sortBeside(ctx context.Context, writer *sql.DB, path string) error {
	folder, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		_, err = writer.ExecContext(ctx, "PRAGMA temp_store_directory = '"+strings.ReplaceAll(folder, "'", "''")+"'")
	}
	return err
}

// file is SQLite's, as it was when it was opened.
type file struct {
	path string
	info fs.FileInfo
}

func openedFile(path string) (*file, error) {
	info, err := os.Stat(path)
	return &file{path, info}, err
}

// findSpace is DB's. Its volume is asked: what is written here may find room in what the
// file or its log had before.
func (f *file) findSpace() error {
	var volume unix.Statfs_t
	err := unix.Statfs(f.path, &volume)
	if free := volume.Bavail * uint64(volume.Bsize); err == nil && free < spaceWanted { //nolint:gosec // a block has some bytes
		return &UnavailableError{Reason: reasonFull, Reads: true, cause: fmt.Errorf("%d bytes are free on its volume", free)}
	}
	return nil
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
