package database_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Somebody puts a backup in the place of SQLite's file while it is open. What is written
// to the old one would be lost, and the new one is not the one that was known.
func TestFileReplaced(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "test.db")
	db := openCounters(t, "sqlite://"+path)
	write := func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }
	read := func(tx database.Tx) error { _, err := tx.ExecContext(t.Context(), "SELECT 1"); return err }
	refuses := func(when string) {
		t.Helper()
		for what, err := range map[string]error{
			"CheckWrites": db.CheckWrites(t.Context()), "Write": db.Write(t.Context(), write), "Group": db.Group(t.Context(), write), "Read": db.Read(t.Context(), read),
		} {
			if refused, is := errors.AsType[*database.UnavailableError](err); !is || refused.Reads || refused.Reason == "" {
				t.Errorf("%s, %s: %v", when, what, err)
			}
		}
	}
	move := func(from, to string) {
		t.Helper()
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Rename(from+end, to+end); err != nil {
				t.Fatal(err)
			}
		}
	}
	move(path, path+".away")
	refuses("without a file")
	backup := openCounters(t, "sqlite://"+path)
	refuses("with another file")
	if got := value(t, backup, "a"); got != 0 {
		t.Errorf("the backup has %d", got)
	}
	if err := backup.Close(); err != nil {
		t.Fatal(err)
	}
	move(path+".away", path)
	if err := errors.Join(db.CheckWrites(t.Context()), db.Write(t.Context(), write), db.Read(t.Context(), read)); err != nil {
		t.Errorf("with the file again: %v", err)
	}
}

// Another program holds SQLite's lock, and keeps it. Each call has its answer, however
// many wait.
func TestFileLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db := openCounters(t, "sqlite://"+path)
	other, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // the test is over
	lock, err := other.Conn(t.Context())
	if err == nil {
		_, err = lock.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() {
			write := []func(context.Context, func(database.Tx) error) error{db.Write, db.Group}[n%2]
			began := time.Now()
			err := write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) })
			// One waits for the lock, others for their turn after it.
			if took := time.Since(began); !errors.Is(err, database.ErrUnavailable) || took > 2*answered {
				t.Errorf("a lock that stays: %v after %s", err, took)
			}
		})
	}
	all.Wait()
	if _, err := lock.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
		t.Errorf("a lock that is gone: %v", err)
	}
}

// A damaged file is the database's fault, whatever is asked.
func TestFileDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db := openCounters(t, "sqlite://"+path)
	for n := range 200 { // more than one page
		if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, strings.Repeat("x", 100+n), n) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := int64(page); at < info.Size(); at += page {
		if at/page > 2 { // not the schema
			_, err = file.WriteAt([]byte(strings.Repeat("?", page)), at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, "sqlite://"+path)
	count := func(tx database.Tx) error {
		var n int
		return tx.QueryRowContext(t.Context(), "SELECT SUM(value) FROM counters").Scan(&n)
	}
	write := func(tx database.Tx) error { return set(t.Context(), tx, strings.Repeat("x", 150), 1) }
	for what, err := range map[string]error{"Read": db.Read(t.Context(), count), "Write": db.Write(t.Context(), write), "Group": db.Group(t.Context(), write)} {
		if refused, is := errors.AsType[*database.UnavailableError](err); !is || refused.Reason == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
