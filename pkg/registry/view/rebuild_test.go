package view_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

const backendID = "6b7a3c52-0a5e-4d0f-9c35-0e6c7a3f5a11"

// logOf opens the log of a database whose tables are these.
func logOf(t *testing.T, db *database.DB, views *view.Views, options ...eventlog.Option) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Open(context.Background(), db, views.Apply, time.Now, append([]eventlog.Option{eventlog.Knows(event.Level)}, options...)...)
	must(t, err)
	t.Cleanup(func() { log.Close() }) //nolint:errcheck // it does not fail
	return log
}

func appendAll(log *eventlog.Log, payloads ...event.Payload) error {
	_, err := log.Append(context.Background(), func(context.Context, database.Tx) ([]eventlog.Event, error) {
		var events []eventlog.Event
		for _, payload := range payloads {
			e, err := event.New("test", payload)
			if err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		return events, nil
	})
	return err
}

// published is a version of a package with as many files.
func published(version string, files int) (event.PackagePublished, error) {
	m := &manifest.Manifest{Producer: "p", Name: "n", Version: version}
	for i := range files {
		m.Files = append(m.Files, manifest.File{Path: fmt.Sprintf("folder/%06d", i), Size: 1, Digests: digest.Of(fmt.Append(nil, version, i))})
	}
	encoded, err := manifest.Encode(m)
	return event.PackagePublished{Producer: "p", Name: "n", Version: version, RetentionClass: "r", Tier: "hot", Backends: []string{backendID}, Manifest: encoded}, err
}

func publish(t *testing.T, log *eventlog.Log, version string, files int) {
	t.Helper()
	p, err := published(version, files)
	must(t, err)
	must(t, appendAll(log, p))
}

func dump(t *testing.T, db *database.DB) (text string) {
	t.Helper()
	ctx := context.Background()
	must(t, db.Read(ctx, func(tx database.Tx) (err error) {
		text, err = view.Dump(ctx, tx)
		return err
	}))
	return text
}

func version(t *testing.T, db *database.DB) (n int64) {
	t.Helper()
	ctx := context.Background()
	must(t, db.Read(ctx, func(tx database.Tx) (err error) {
		n, err = view.Version(ctx, tx)
		return err
	}))
	return n
}

// TestUpgrade has two processes bring tables of version 1 to this program's.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		must(t, view.Migrate(ctx, db))
		views := view.New(db)
		log := logOf(t, db, views)
		must(t, appendAll(log, event.BackendRegistered{BackendID: backendID, Name: "b", Driver: "local", Place: "/b"}))
		publish(t, log, "1", 20)
		must(t, views.Open(ctx))
		if n := version(t, db); n != 1 {
			t.Fatalf("the tables of a log with records are exchanged when it is opened: version %d", n)
		}
		before := dump(t, db)
		var both sync.WaitGroup
		reports := make([]view.Report, 2)
		for i := range reports {
			both.Go(func() {
				var err error
				if reports[i], err = view.New(db).Upgrade(ctx, view.Progress{}); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if (reports[0].Events == 2) == (reports[1].Events == 2) {
			t.Errorf("not one of the two rebuilt: %+v", reports)
		}
		if n := version(t, db); n != view.Current {
			t.Errorf("version %d", n)
		}
		if after := dump(t, db); !strings.HasPrefix(after, before) { // new tables are behind
			t.Errorf("the rows are others:\n%s\nwere\n%s", after, before)
		}
		publish(t, log, "2", 3)
		if report, err := views.Check(ctx, view.Progress{}); err != nil || report.Events != 3 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// TestUpgradeBringsAColumn pretends that this program's version brought a
// column: the old tables serve and take records while the new ones are made.
func TestUpgradeBringsAColumn(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		must(t, view.Migrate(ctx, db))
		must(t, db.Write(ctx, func(tx database.Tx) error {
			_, err := tx.ExecContext(ctx, "DROP INDEX package_files_holders; ALTER TABLE package_files DROP COLUMN producer")
			return err
		}))
		views := view.New(db)
		views.Pretend(view.Current+1, "package_files.producer", event.Level+1)
		log := logOf(t, db, views, eventlog.Knows(event.Level+1))
		fenced := logOf(t, db, view.New(db)) // of an older replica, which does not know the column
		must(t, appendAll(log, event.BackendRegistered{BackendID: backendID, Name: "b", Driver: "local", Place: "/b"}))
		publish(t, log, "old", 20)
		must(t, views.Open(ctx))
		if report, err := views.Check(ctx, view.Progress{}); err != nil || report.Rows["package_files"] != 20 {
			t.Errorf("the check of tables without the column: %+v, %v", report, err)
		}

		done := make(chan struct{})
		var pushing sync.WaitGroup
		pushes := 0
		pushing.Go(func() {
			for ; ; pushes++ {
				select {
				case <-done:
					return
				default:
				}
				p, err := published(fmt.Sprint("new ", pushes), 2)
				if err == nil {
					err = appendAll(log, p)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		_, err := views.Upgrade(ctx, view.Progress{})
		must(t, err)
		close(done)
		pushing.Wait()
		publish(t, log, "after", 1)
		if p, err := published("of an older replica", 1); err != nil {
			t.Error(err)
		} else if err := appendAll(fenced, p); !errors.Is(err, eventlog.ErrFenced) {
			t.Errorf("a replica that does not know the column goes on: %v", err)
		}
		if n := version(t, db); n != view.Current+1 {
			t.Errorf("version %d", n)
		}
		must(t, db.Read(ctx, func(tx database.Tx) error {
			var n, without int
			err := tx.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(CASE WHEN producer = 'p' THEN NULL ELSE 1 END) FROM package_files").Scan(&n, &without)
			if n != 20+2*pushes+1 || without != 0 {
				t.Errorf("%d files, %d of them without a producer; %d pushes", n, without, pushes)
			}
			return err
		}))
		if _, err := views.Check(ctx, view.Progress{}); err != nil {
			t.Error(err)
		}
		older := view.New(db) // of this version
		if err := older.Open(ctx); !errors.Is(err, view.ErrVersion) {
			t.Errorf("an older program opens newer tables: %v", err)
		}
		if _, err := older.Rebuild(ctx, view.Progress{}); !errors.Is(err, view.ErrVersion) {
			t.Errorf("an older program rebuilds newer tables: %v", err)
		}
	})
}

// TestOneRebuildAtATime: the second waits and says so; one that was still for
// too long has lost its claim and its tables, and can write nothing more.
func TestOneRebuildAtATime(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		views := opened(t, db)
		log := logOf(t, db, views)
		publish(t, log, "1", 3)
		write, table, err := views.Claim(ctx)
		must(t, err)
		told := make(chan string, 1)
		ended := make(chan error, 1)
		go func() {
			_, err := view.New(db).Rebuild(ctx, view.Progress{Waiting: func(holder string) { told <- holder }})
			ended <- err
		}()
		if holder := <-told; !strings.HasPrefix(holder, "process ") {
			t.Errorf("it waits for %q", holder)
		}
		must(t, write(func(tx database.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+table("abandoned")+" VALUES ('x', 1)")
			return err
		}))
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(time.Second):
		}
		must(t, db.Write(ctx, func(tx database.Tx) error { // 30 seconds later
			_, err := tx.ExecContext(ctx, "UPDATE view_state SET until_us = 0")
			return err
		}))
		must(t, <-ended)
		if err := write(func(database.Tx) error { t.Error("it writes on"); return nil }); !errors.Is(err, view.ErrClaimLost) {
			t.Errorf("got %v", err)
		}
		mustHave(t, db, table("abandoned"), false)
		mustHave(t, db, "abandoned", true)
		if _, err := views.Check(ctx, view.Progress{}); err != nil {
			t.Error(err)
		}
	})
}

func mustHave(t *testing.T, db *database.DB, table string, want bool) {
	t.Helper()
	ctx := context.Background()
	must(t, db.Read(ctx, func(tx database.Tx) error {
		there, err := db.HasTable(ctx, tx, table)
		if there != want {
			t.Errorf("the table %s is there: %v", table, there)
		}
		return err
	}))
}

// TestRebuildWithoutTables: they may even be gone.
func TestRebuildWithoutTables(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		views := opened(t, db)
		log := logOf(t, db, views)
		publish(t, log, "1", 3)
		before := dump(t, db)
		must(t, db.Write(ctx, func(tx database.Tx) error {
			_, err := tx.ExecContext(ctx, "DROP TABLE packages; DROP TABLE storage_locations")
			return err
		}))
		report, err := views.Rebuild(ctx, view.Progress{})
		must(t, err)
		if report.Events != 1 || report.Rows["packages"] != 1 || report.Rows["storage_locations"] != 4 {
			t.Errorf("%+v", report)
		}
		if after := dump(t, db); after != before {
			t.Errorf("the rows are others:\n%s\nwere\n%s", after, before)
		}
	})
}

// TestRebuildOfABrokenLog leaves the tables alone: they may be all that is left.
func TestRebuildOfABrokenLog(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		views := opened(t, db)
		log := logOf(t, db, views)
		publish(t, log, "1", 3)
		publish(t, log, "2", 3)
		before := dump(t, db)
		for _, harm := range []string{"UPDATE events SET actor = 'someone' WHERE position = 1", "UPDATE events SET actor = 'test'; DELETE FROM events WHERE position = 2"} {
			must(t, db.Write(ctx, func(tx database.Tx) error {
				_, err := tx.ExecContext(ctx, harm)
				return err
			}))
			if _, err := views.Rebuild(ctx, view.Progress{}); !errors.Is(err, eventlog.ErrBroken) {
				t.Errorf("%s: %v", harm, err)
			}
			if after := dump(t, db); after != before {
				t.Errorf("%s: the rows are others", harm)
			}
		}
		mustHave(t, db, "packages_g1", false)
	})
}
