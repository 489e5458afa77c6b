package database_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// answered is within how long a transaction ends, whatever the server does.
const answered = 15 * time.Second

// A server that takes connections and says nothing. While the standby is one, every
// transaction ends; once it is the primary, they go through, though the silent one is
// still the first host of the URL.
func TestSilentPrimary(t *testing.T) {
	t.Parallel()
	primary, standby := servers.PostgresPair(t)
	proxy := faultproxy.TCP(t, "http://"+primary.Address)
	db := openCounters(t, primary.URL(strings.TrimPrefix(proxy.URL, "http://"), standby.Address))
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
		t.Fatal(err)
	}
	proxy.Arm(faultproxy.Fault{Where: faultproxy.InRequest, Action: faultproxy.Stall, Always: true})
	var all sync.WaitGroup
	for n := range 40 { // more than there are connections
		all.Go(func() {
			var err error
			began := time.Now()
			switch n % 3 {
			case 0:
				err = db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 2) })
			case 1:
				err = db.Group(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 2) })
			case 2:
				err = db.Read(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 2) })
			}
			if took := time.Since(began); !errors.Is(err, database.ErrUnavailable) || took > answered {
				t.Errorf("transaction %d of a silent server: %v after %s", n, err, took)
			}
		})
	}
	all.Wait()
	if err := db.CheckWrites(t.Context()); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("the check of a silent server: %v", err)
	}
	standby.Promote()
	began := time.Now()
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "b", 3) }); err != nil {
		t.Errorf("after the promotion: %v", err)
	}
	if a, b := value(t, db, "a"), value(t, db, "b"); a != 1 || b != 3 || time.Since(began) > answered {
		t.Errorf("after the promotion: values %d and %d, %s", a, b, time.Since(began))
	}
	if err := db.CheckWrites(t.Context()); err != nil {
		t.Errorf("the check after the promotion: %v", err)
	}
}

// The server falls silent while statements run, and comes back.
func TestSilentInTransaction(t *testing.T) {
	t.Parallel()
	primary, _ := servers.PostgresPair(t)
	proxy := faultproxy.TCP(t, "http://"+primary.Address)
	db := openCounters(t, primary.URL(strings.TrimPrefix(proxy.URL, "http://")))
	runs := 0
	began := time.Now()
	err := db.Write(t.Context(), func(tx database.Tx) error {
		if runs++; runs == 1 {
			proxy.Arm(faultproxy.Fault{Where: faultproxy.InAnswer, Action: faultproxy.Stall, Always: true})
			time.AfterFunc(2*time.Second, func() { proxy.Arm() })
		}
		return set(t.Context(), tx, "a", runs)
	})
	if err != nil || runs != 2 || value(t, db, "a") != 2 || time.Since(began) > answered {
		t.Errorf("%d runs, value %d after %s: %v", runs, value(t, db, "a"), time.Since(began), err)
	}
}

// With two hosts, only the one that takes writes is used.
func TestStandbyIsNotUsed(t *testing.T) {
	t.Parallel()
	primary, standby := servers.PostgresPair(t)
	db := openCounters(t, primary.URL(standby.Address, primary.Address))
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
		t.Fatal(err)
	}
	primary.Stop()
	began := time.Now()
	err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 2) })
	if !errors.Is(err, database.ErrUnavailable) || time.Since(began) > answered {
		t.Errorf("with a standby alone: %v after %s", err, time.Since(began))
	}
	err = db.Read(t.Context(), func(tx database.Tx) error { _, err := tx.ExecContext(t.Context(), "SELECT 1"); return err })
	if !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("reading from a standby: %v", err)
	}
	standby.Promote()
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 3) }); err != nil || value(t, db, "a") != 3 {
		t.Errorf("after the promotion: %v, value %d", err, value(t, db, "a"))
	}
}

// The primary that was lost comes back, and nobody has told it that there is another.
func TestOldPrimaryIsBack(t *testing.T) {
	t.Parallel()
	primary, standby := servers.PostgresPair(t)
	db := openCounters(t, primary.URL(primary.Address, standby.Address))
	write := func() error {
		return db.Write(t.Context(), func(tx database.Tx) error {
			_, err := tx.ExecContext(t.Context(), "UPDATE counters SET value = value + 1 WHERE name = 'a'")
			return err
		})
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	primary.Stop()
	standby.Promote()
	if err := write(); err != nil {
		t.Fatal(err)
	}
	primary.Start()
	primary.Do("ALTER SYSTEM RESET synchronous_standby_names")
	primary.Do("SELECT pg_reload_conf()")
	for n := range 10 {
		if n%3 == 0 {
			standby.Do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'artifact-store'")
		}
		if err := write(); err != nil {
			t.Error(err)
		}
	}
	if got := value(t, db, "a"); got != 12 {
		t.Errorf("12 writes, value %d", got)
	}
	standby.Stop()
	if refused, is := errors.AsType[*database.UnavailableError](write()); !is || refused.Reason == "" {
		t.Errorf("a write with the old primary alone: %v", refused)
	}
}

// pg_upgrade makes another cluster, whose timelines begin anew: it is no old primary.
func TestAnotherCluster(t *testing.T) {
	t.Parallel()
	primary, standby := servers.PostgresPair(t)
	another := servers.PostgresOn(t, "", "")
	primary.Stop()
	standby.Promote()
	db := openCounters(t, primary.URL(standby.Address, another.Address))
	standby.Stop()
	err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) })
	if refused, is := errors.AsType[*database.UnavailableError](err); !is || !strings.Contains(refused.Reason, "another cluster than before") || !strings.Contains(refused.Reason, "restart the manager") {
		t.Errorf("a write with another cluster alone: %v", err)
	}
}

// A connection leads to a server that takes no writes any more, and a new one to one that does.
func TestReadOnlyConnection(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) {
		for _, write := range []func(context.Context, func(database.Tx) error) error{db.Write, db.Group} {
			err := db.Write(t.Context(), func(tx database.Tx) error {
				_, err := tx.ExecContext(t.Context(), "SET default_transaction_read_only = on") // of the session
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
				t.Errorf("a write behind a read-only connection: %v", err)
			}
		}
	})
}

// A provider makes a database read-only when its disk is full. It is read all the same.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	address := servers.Postgres(t)
	db := openCounters(t, address)
	admin := adminOf(t, address)
	for _, statement := range []string{
		"DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET default_transaction_read_only = on'; END $$",
		"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
	} {
		if _, err := admin.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"Write":       db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }),
		"Group":       db.Group(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }),
		"CheckWrites": db.CheckWrites(t.Context()),
	} {
		refused, is := errors.AsType[*database.UnavailableError](err)
		if !is || !refused.Reads || refused.Reason != "the database is read-only" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := value(t, db, "a"); got != 0 {
		t.Errorf("read %d", got)
	}
	if _, err := admin.ExecContext(t.Context(), "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' RESET default_transaction_read_only'; END $$"); err != nil {
		t.Fatal(err)
	}
	if err := db.CheckWrites(t.Context()); err != nil {
		t.Errorf("the check afterwards: %v", err)
	}
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// adminOf returns one connection that may write whatever the database says.
func adminOf(t *testing.T, address string) *sql.Conn {
	t.Helper()
	admin, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() }) //nolint:errcheck // nothing is lost with it
	conn, err := admin.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), "SET default_transaction_read_only = off")
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// What the server itself refuses for a while, alone and in a transaction with others.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) {
		for name, statement := range map[string]string{
			"disk full":         "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
			"out of memory":     "DO $$ BEGIN RAISE EXCEPTION 'out of memory' USING ERRCODE = 'out_of_memory'; END $$",
			"rights taken":      "DO $$ BEGIN RAISE EXCEPTION 'permission denied for table events' USING ERRCODE = 'insufficient_privilege'; END $$",
			"being restored":    "SELECT * FROM dropped_by_pg_restore",
			"data corrupted":    "DO $$ BEGIN RAISE EXCEPTION 'invalid page in block 0' USING ERRCODE = 'data_corrupted'; END $$",
			"pooler's failure":  "DO $$ BEGIN RAISE EXCEPTION 'server closed the connection' USING ERRCODE = 'connection_failure'; END $$",
			"I/O error":         "DO $$ BEGIN RAISE EXCEPTION 'could not read block' USING ERRCODE = 'io_error'; END $$",
			"statement timeout": "SET LOCAL statement_timeout = 20; SELECT pg_sleep(10)",
			"read-only":         "SET LOCAL transaction_read_only = on; INSERT INTO counters VALUES ('x', 1)",
		} {
			fn := func(tx database.Tx) error { _, err := tx.ExecContext(t.Context(), statement); return err }
			for way, err := range map[string]error{"Write": db.Write(t.Context(), fn), "Group": db.Group(t.Context(), fn)} {
				if refused, is := errors.AsType[*database.UnavailableError](err); !is || refused.Reason == "" {
					t.Errorf("%s, %s: %v", name, way, err)
				}
			}
			if err := db.Group(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
				t.Errorf("after %s: %v", name, err)
			}
		}
	})
}

// A database that is dropped while it is open refuses connections: it does answer.
func TestDatabaseDropped(t *testing.T) {
	t.Parallel()
	primary, _ := servers.PostgresPair(t)
	primary.Do("CREATE DATABASE registry")
	db := openCounters(t, strings.Replace(primary.URL(), "/postgres?", "/registry?", 1))
	primary.Do("DROP DATABASE registry WITH (FORCE)")
	fn := func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }
	for what, err := range map[string]error{"Write": db.Write(t.Context(), fn), "Group": db.Group(t.Context(), fn), "CheckWrites": db.CheckWrites(t.Context())} {
		if refused, is := errors.AsType[*database.UnavailableError](err); !is || refused.Reason != "the database refuses connections (3D000)" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Another client holds a lock and is silent. The wait for it is an answer and not a
// silence: it has an end, and the connections stay.
func TestLockOfAnother(t *testing.T) {
	t.Parallel()
	address := servers.Postgres(t)
	db := openCounters(t, address)
	admin := adminOf(t, address)
	lock, err := admin.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback() //nolint:errcheck // it is over
	if _, err := lock.ExecContext(t.Context(), "UPDATE counters SET value = 7 WHERE name = 'a'"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) })
	if took := time.Since(began); !errors.Is(err, database.ErrUnavailable) || took > answered+2*time.Second {
		t.Errorf("a lock that stays: %v after %s", err, took)
	}
	time.AfterFunc(5*time.Second, func() { _ = lock.Rollback() })
	if err := db.Write(t.Context(), func(tx database.Tx) error { return set(t.Context(), tx, "a", 1) }); err != nil {
		t.Errorf("a lock that goes: %v", err)
	}
}

// Whatever is set for the database, a commit is durable when it is answered, and a
// replica that stops in a transaction loses its locks.
func TestWriteSettings(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) { // of a cluster with synchronous_commit=off
		show := func(tx database.Tx, name string) (value string) {
			if err := tx.QueryRowContext(t.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
				t.Error(err)
			}
			return value
		}
		err := db.Write(t.Context(), func(tx database.Tx) error {
			for name, want := range map[string]string{
				"synchronous_commit": "on", "idle_in_transaction_session_timeout": "20s", "lock_timeout": "4s", "plan_cache_mode": "force_custom_plan",
			} {
				if got := show(tx, name); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			_, err := tx.ExecContext(t.Context(), "SET synchronous_commit = remote_apply")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Write(t.Context(), func(tx database.Tx) error {
			if got := show(tx, "synchronous_commit"); got != "remote_apply" {
				t.Errorf("a stricter synchronous_commit became %s", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := db.Warnings(t.Context()); err != nil || strings.Join(got, " ") != "fsync=off full_page_writes=off" {
			t.Errorf("warnings: %v, %v", got, err)
		}
	})
}
