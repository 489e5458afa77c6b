package database_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/test/servers"
)

// onBoth runs a test on a fresh database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, address string)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	})
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		test(t, servers.Postgres(t))
	})
}

func open(t testing.TB, address string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return db
}

var counters = []string{`CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL, bytes BYTEA);
	INSERT INTO counters (name, value) VALUES ('a', 0)`}

func openCounters(t testing.TB, address string) *database.DB {
	t.Helper()
	db := open(t, address)
	if err := db.Migrate(t.Context(), "test", counters); err != nil {
		t.Fatal(err)
	}
	return db
}

func value(t testing.TB, db *database.DB, name string) (v int64) {
	t.Helper()
	err := db.Read(context.WithoutCancel(t.Context()), func(tx database.Tx) error {
		return tx.QueryRowContext(t.Context(), "SELECT COALESCE(MAX(value), -1) FROM counters WHERE name = $1", name).Scan(&v)
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func set(ctx context.Context, tx database.Tx, name string, value int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO counters (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

func TestWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		if err := db.CheckWrites(t.Context()); err != nil {
			t.Fatal(err)
		}
		refused := errors.New("refused")
		err := db.Write(t.Context(), func(tx database.Tx) error {
			if err := set(t.Context(), tx, "a", 1); err != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) || value(t, db, "a") != 0 {
			t.Errorf("a refused write: %v, value %d", err, value(t, db, "a"))
		}
		if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 2) }); err != nil {
			t.Fatal(err)
		}
		if got := value(t, db, "a"); got != 2 {
			t.Errorf("the value is %d, expected 2", got)
		}
	})
}

// Concurrent read-modify-write from two DBs on one database: no update may be lost.
func TestWritersLoseNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		dbs := []*database.DB{openCounters(t, address), openCounters(t, address)}
		const each = 10
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				for range each {
					err := dbs[n%2].Write(t.Context(), func(tx database.Tx) error {
						var v int
						err := tx.QueryRowContext(t.Context(), "UPDATE counters SET value = value WHERE name = 'a' RETURNING value").Scan(&v)
						if err != nil {
							return err
						}
						return set(t.Context(), tx, "a", v+1)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if got := value(t, dbs[0], "a"); got != 8*each {
			t.Errorf("the value is %d after %d increments", got, 8*each)
		}
	})
}

func TestReadIsASnapshot(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		err := db.Read(t.Context(), func(tx database.Tx) error {
			for range 2 {
				var v int
				if err := tx.QueryRowContext(t.Context(), "SELECT value FROM counters").Scan(&v); err != nil {
					return err
				}
				if v != 0 {
					t.Errorf("a write from outside is seen: %d", v)
				}
				if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Read(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 9) })
		if err == nil || value(t, db, "a") != 1 {
			t.Errorf("a write inside Read: %v, value %d", err, value(t, db, "a"))
		}
	})
}

// The end of a context keeps a small read from beginning, and interrupts none.
func TestReadSmall(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		ctx, end := context.WithCancel(t.Context())
		var v int
		read := func(tx database.Tx) error {
			end()
			return tx.QueryRowContext(ctx, "SELECT value FROM counters WHERE name = 'a'").Scan(&v)
		}
		if err := db.ReadSmall(ctx, read); err != nil {
			t.Errorf("one that had begun: %v", err)
		}
		if err := db.ReadSmall(ctx, read); !errors.Is(err, context.Canceled) {
			t.Errorf("one that had not: %v", err)
		}
		if err := db.ReadSmall(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err == nil {
			t.Error("it wrote")
		}
		// A panic leaves no transaction open.
		func() {
			defer func() { _ = recover() }()
			_ = db.Write(t.Context(), func(database.Tx) error { panic("a bug") })
		}()
		if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 2) }); err != nil || value(t, db, "a") != 2 {
			t.Errorf("after a panic: %v, %d", err, value(t, db, "a"))
		}
	})
}

func TestMigrate(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		steps := []string{"CREATE TABLE one (a BIGINT)", "CREATE TABLE two (a BIGINT); INSERT INTO two VALUES (7)"}
		dbs := []*database.DB{open(t, address), open(t, address), open(t, address)}
		var all sync.WaitGroup
		for _, db := range dbs {
			all.Go(func() {
				for n := range steps {
					if err := db.Migrate(t.Context(), "test", steps[:n+1]); err != nil && !strings.Contains(err.Error(), "newer") {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if err := dbs[0].Migrate(t.Context(), "test", steps); err != nil {
			t.Error(err)
		}
		if err := dbs[0].Migrate(t.Context(), "other", []string{"CREATE TABLE three (a BIGINT)"}); err != nil {
			t.Error(err)
		}
		var rows int
		err := dbs[0].Read(t.Context(), func(tx database.Tx) error {
			return tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM two").Scan(&rows)
		})
		if err != nil || rows != 1 {
			t.Errorf("step 2 was applied %d times: %v", rows, err)
		}
		if err := dbs[0].Migrate(t.Context(), "test", []string{steps[0], "CREATE TABLE other (a BIGINT)"}); err == nil {
			t.Error("a changed step was taken")
		}
		if err := dbs[0].Migrate(t.Context(), "test", steps[:1]); err == nil {
			t.Error("a database of a newer program was taken")
		}
		if err := dbs[0].Migrate(t.Context(), "test", append(steps, "CREATE TABLE four (a BIGINT)", "SELECT nonsense")); err == nil {
			t.Error("a broken step was taken")
		}
		if err := dbs[0].Migrate(t.Context(), "test", append(steps, "CREATE TABLE four (b BIGINT)")); err != nil {
			t.Errorf("after a broken migration: %v", err)
		}
	})
}

func TestInsertRows(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		columns := []string{"name", "value", "bytes"}
		var rows [][]any
		for n := range 10_000 {
			rows = append(rows, []any{fmt.Sprintf("row %05d", n), n, []byte{byte(n), 0, 255}})
		}
		insert := func(rows [][]any, suffix string) (n int64, err error) {
			err = db.Write(t.Context(), func(tx database.Tx) (err error) {
				n, err = database.InsertRows(t.Context(), tx, "counters", columns, rows, suffix)
				return err
			})
			return n, err
		}
		if n, err := insert(rows, ""); err != nil || n != 10_000 {
			t.Fatalf("inserted %d: %v", n, err)
		}
		if n, err := insert(rows[:3000], "ON CONFLICT DO NOTHING"); err != nil || n != 0 {
			t.Errorf("inserted %d again: %v", n, err)
		}
		if _, err := insert([][]any{{"new", 1, nil}, rows[0]}, ""); err == nil || value(t, db, "new") != -1 {
			t.Errorf("a conflict: %v, value %d", err, value(t, db, "new"))
		}
		if _, err := insert([][]any{{"short"}}, ""); err == nil {
			t.Error("a short row was taken")
		}
		if n, err := insert(nil, ""); err != nil || n != 0 {
			t.Errorf("no rows: %d, %v", n, err)
		}
		err := db.Read(t.Context(), func(tx database.Tx) error {
			var v int
			var data []byte
			err := tx.QueryRowContext(t.Context(), "SELECT value, bytes FROM counters WHERE name = $1", "row 09999").Scan(&v, &data)
			if v != 9999 || !bytes.Equal(data, []byte{9999 & 255, 0, 255}) {
				t.Errorf("the last row reads %d, %x", v, data)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ address, want string }{
		{"", "expected sqlite:///path or postgres://"},
		{"mysql://root:hunter2@h/db", "expected sqlite:///path or postgres://"},
		{"/var/lib/a.db", "expected sqlite:///path or postgres://"},
		{"sqlite://", "expected sqlite:///path"},
		{"sqlite://:memory:", "path of a file"},
		{"sqlite:///a?mode=memory", "no parameters"},
		{"sqlite:///no/such/folder/a.db", "/no/such/folder/a.db"},
		{"postgres://u:hunter2/x@h/db", "cannot be parsed"},
		{"postgres://u:hunter2@127.0.0.1:1/db?sslmode=hunter2", "--database"},
		{"postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable", "127.0.0.1:1"},
		{"postgres://u@127.0.0.1:1/db?sslmode=disable&password=hunter2", "127.0.0.1:1"},
		{"postgres://u:hunter2%21@/db?host=/no/such/folder", "/no/such/folder"},
	} {
		db, err := database.Open(t.Context(), test.address)
		if err == nil {
			_ = db.Close()
			t.Errorf("%s was opened", test.address)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %q does not say %q", test.address, err, test.want)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, "hunter2") {
				t.Errorf("%s: the password is in %s", test.address, text)
			}
		}
	}
}

func TestSQLitePaths(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{"plain.db", "a b.db", "100%.db", "what?.db", "hash#.db", "ünï.db", "a&b=c;d.db"} {
		path := filepath.Join(folder, name)
		db := openCounters(t, "sqlite://"+(&url.URL{Path: path}).EscapedPath())
		if db.Engine() != database.SQLite || value(t, db, "a") != 0 {
			t.Errorf("%s was not opened", name)
		}
		if found, _ := filepath.Glob(filepath.Join(folder, "*")); !contains(found, path) {
			t.Errorf("no file %s in %v", path, found)
		}
	}
}

func contains(list []string, wanted string) bool {
	for _, item := range list {
		if item == wanted {
			return true
		}
	}
	return false
}

// The promise about power failures depends on these settings, and that a large index can
// be made where there is no room for temporary files on the one about sorting.
func TestSQLiteSettings(t *testing.T) {
	t.Parallel()
	db := openCounters(t, "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	if err := db.Read(t.Context(), func(tx database.Tx) error {
		var folder string
		err := tx.QueryRowContext(t.Context(), "PRAGMA temp_store_directory").Scan(&folder)
		if !filepath.IsAbs(folder) { // it is of the process, whose other tests open databases too
			t.Errorf("files of sorts are in %q", folder)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	check := func(tx database.Tx) error {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			var got string
			if err := tx.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s, expected %s", pragma, got, want)
			}
		}
		return nil
	}
	if err := errors.Join(db.Write(t.Context(), check), db.Read(t.Context(), check)); err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := db.Write(t.Context(), func(tx database.Tx) error {
		return tx.QueryRowContext(t.Context(), "PRAGMA cache_size").Scan(&pages)
	}); err != nil || pages != -4096 {
		t.Errorf("the writer's cache is %d, %v", pages, err)
	}
}
