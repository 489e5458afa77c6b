package inprocess

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// The variables by which this program works on the databases of make bench-scale. Each
// names a file of SQLite.
const (
	// fillVariable: publish as many packages as packagesVariable says.
	fillVariable = "BENCH_FILL"
	// bulkVariable: load the rows of the views of as many packages into a new file, their
	// indexes last.
	bulkVariable     = "BENCH_BULK"
	packagesVariable = "BENCH_PACKAGES"
	// overVariable: the benchmarks of the fold add to this one.
	overVariable = "BENCH_OVER"
	// overFirst is before the numbers of what they add: no package of fill has one like it.
	overFirst = 1 << 40
)

func TestMain(m *testing.M) {
	for variable, work := range map[string]func(context.Context, string, int) error{fillVariable: fill, bulkVariable: bulk} {
		path := os.Getenv(variable)
		if path == "" {
			continue
		}
		packages, err := strconv.Atoi(os.Getenv(packagesVariable))
		if err == nil {
			err = work(context.Background(), path, packages)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// scalePackage is one of many: of five producers and a hundred thousand names, each of one
// file, every other in two of the backends. Of the first thousand some are evidence: how
// many there are must not depend on how many packages there are.
type scalePackage struct {
	number   int
	producer string
	name     string
	class    string
	backends []string
	content  digest.Dual
	manifest []byte
}

func packageOf(number int, backends []string) (scalePackage, error) {
	p := scalePackage{number: number, producer: fmt.Sprintf("producer-%d", number%5), name: fmt.Sprintf("package-%d", number%100_000), class: "release"}
	if number < rareUntil && number%97 == 50 {
		p.class = "evidence"
	}
	first := number / 2
	p.backends = []string{backends[first%len(backends)]}
	if number%2 == 1 {
		p.backends = append(p.backends, backends[(first+3)%len(backends)])
	}
	p.content = digest.Of(binary.BigEndian.AppendUint64([]byte("scale"), uint64(number)))
	var err error
	p.manifest, err = manifest.Encode(&manifest.Manifest{Producer: p.producer, Name: p.name, Version: fmt.Sprint(number),
		Files: []manifest.File{{Path: "bin/program", Size: 4096, Digests: p.content}}})
	return p, err
}

func (p scalePackage) payload() event.Payload {
	return event.PackagePublished{Producer: p.producer, Name: p.name, Version: fmt.Sprint(p.number), RetentionClass: p.class, Tier: "hot", Backends: p.backends, Manifest: p.manifest}
}

const (
	// fillBatch packages are published by one command.
	fillBatch = 5000
	// one in verifiedOf was verified, and of those before rareUntil one in failedOf found
	// corrupt.
	verifiedOf, failedOf, rareUntil = 10, 47, 1000
)

// fill publishes packages to the backends that are registered.
func fill(ctx context.Context, path string, packages int) (err error) {
	db, err := database.Open(ctx, "sqlite://"+path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := openViews(ctx, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	backends, err := registered(ctx, db)
	if err != nil {
		return err
	}
	for from := 0; from < packages; from += fillBatch {
		events, err := eventsOf(from, min(from+fillBatch, packages), backends)
		if err != nil {
			return err
		}
		if _, err := log.Append(ctx, func(context.Context, database.Tx) ([]eventlog.Event, error) { return events, nil }); err != nil {
			return err
		}
	}
	return nil
}

func registered(ctx context.Context, db *database.DB) (ids []string, err error) {
	err = db.Read(ctx, func(tx database.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT id FROM backends ORDER BY name")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	if err == nil && len(ids) == 0 {
		err = errors.New("no backend is registered")
	}
	return ids, err
}

// eventsOf are the publications of packages, and what was found of some of them.
func eventsOf(from, to int, backends []string) ([]eventlog.Event, error) {
	var payloads []event.Payload
	verified := map[string][][]byte{}
	var failed []event.Payload
	for number := from; number < to; number++ {
		p, err := packageOf(number, backends)
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, p.payload())
		at, sum := p.backends[0], p.content.SHA256.Bytes()
		if number%verifiedOf == 0 {
			verified[at] = append(verified[at], sum)
		}
		if number < rareUntil && number%failedOf == 0 {
			failed = append(failed, event.LocationFailed{BackendID: at, SHA256: sum, Reason: event.ReasonCorrupt, Detail: "the SHA-256 is another one"})
		}
	}
	for _, id := range backends {
		if len(verified[id]) > 0 {
			payloads = append(payloads, event.LocationVerified{BackendID: id, SHA256: verified[id]})
		}
	}
	events := make([]eventlog.Event, 0, len(payloads)+len(failed))
	for _, payload := range append(payloads, failed...) {
		e, err := event.New("bench", payload)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func openBare(path string) (*sql.DB, error) {
	bare, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err == nil {
		bare.SetMaxOpenConns(1)
	}
	return bare, err
}

// bulkTables are those that have a row for each package, or more, in the order of loading.
var bulkTables = []string{"package_files", "blobs", "storage_locations", "packages"}

// bulk makes the tables of the views, loads them without their indexes (all but those
// that are part of a table) and then makes the indexes. It prints how long that took
// without the making of rows, and how much CPU time.
func bulk(ctx context.Context, path string, packages int) error {
	db, err := database.Open(ctx, "sqlite://"+path)
	if err != nil {
		return err
	}
	log, err := openViews(ctx, db) // for the tables
	if err == nil {
		err = log.Close()
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	bare, err := openBare(path)
	if err != nil {
		return err
	}
	defer bare.Close()
	indexes, err := dropIndexes(bare)
	if err != nil {
		return err
	}
	backends := make([]string, 10)
	for i := range backends {
		backends[i] = fmt.Sprintf("0b8f0f3e-6f3b-4c52-9d9e-%012d", i)
	}
	into, err := newLoader(bare)
	if err != nil {
		return err
	}
	var took, cpu time.Duration
	timed := func(work func() error) error {
		began, used := time.Now(), processTime()
		err := work()
		took, cpu = took+time.Since(began), cpu+processTime()-used
		return err
	}
	for from := 0; from < packages; from += fillBatch {
		tables := make(map[string][][]any)
		for number := from; number < min(from+fillBatch, packages); number++ {
			p, err := packageOf(number, backends)
			if err != nil {
				return err
			}
			p.rows(tables)
		}
		if err := timed(func() error { return into.load(tables) }); err != nil {
			return err
		}
	}
	for _, index := range indexes {
		if err := timed(func() error { _, err := bare.Exec(index); return err }); err != nil {
			return err
		}
	}
	fmt.Println(took, cpu)
	return nil
}

// processTime is the CPU time of this process so far.
func processTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func dropIndexes(bare *sql.DB) (texts []string, err error) {
	rows, err := bare.Query("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('" + strings.Join(bulkTables, "', '") + "')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		names, texts = append(names, name), append(texts, text)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := bare.Exec("DROP INDEX " + name); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// rows adds the rows of a package, as the fold makes them.
func (p scalePackage) rows(to map[string][][]any) {
	add := func(table string, row ...any) { to[table] = append(to[table], row) }
	sealed := digest.Of(p.manifest)
	position := p.number + 1
	add("package_files", position, 0, "bin/program", p.content.SHA256.Bytes(), 0, "", p.producer)
	add("packages", position, p.producer, p.name, fmt.Sprint(p.number), sealed.SHA256.Bytes(), len(p.manifest), p.class, "hot", "", "{}", 1, 4096, 1, "bench", p.backends[0])
	for _, d := range []digest.Dual{p.content, sealed} {
		add("blobs", d.SHA256.Bytes(), d.BLAKE3.Bytes(), 4096)
		for _, id := range p.backends {
			add("storage_locations", id, d.SHA256.Bytes(), "live", "", "", position, 0, 0)
		}
	}
}

// bulkRows are inserted by one statement.
const bulkRows = 100

// loader inserts rows by prepared statements: many at a time, or one.
type loader struct {
	*sql.DB
	many, one map[string]*sql.Stmt // by table
}

func newLoader(bare *sql.DB) (loader, error) {
	l := loader{bare, make(map[string]*sql.Stmt), make(map[string]*sql.Stmt)}
	for _, table := range bulkTables {
		row := "(?" + strings.Repeat(",?", strings.Count(columnsOf[table], ",")) + ")"
		text := "INSERT INTO " + table + columnsOf[table] + " VALUES " + row
		var errOne, errMany error
		l.one[table], errOne = bare.Prepare(text)
		l.many[table], errMany = bare.Prepare(text + strings.Repeat(","+row, bulkRows-1))
		if err := errors.Join(errOne, errMany); err != nil {
			return l, err
		}
	}
	return l, nil
}

// load inserts rows in one transaction.
func (l loader) load(tables map[string][][]any) error {
	tx, err := l.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // it does nothing after Commit
	for _, table := range bulkTables {
		for rows := tables[table]; len(rows) > 0; {
			n, statement := bulkRows, l.many[table]
			if len(rows) < bulkRows {
				n, statement = 1, l.one[table]
			}
			values := make([]any, 0, n*len(rows[0]))
			for _, row := range rows[:n] {
				values = append(values, row...)
			}
			if _, err := tx.Stmt(statement).Exec(values...); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
			rows = rows[n:]
		}
	}
	return tx.Commit()
}
