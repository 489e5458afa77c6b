package inprocess

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

const (
	foldBatch   = 200    // packages of one file each
	foldBefore  = 10_000 // packages that are there already
	foldBackend = "0b8f0f3e-6f3b-4c52-9d9e-4b7f2f7a3d11"
)

// packageEvent is the publication of a package that no other is like.
func packageEvent(b *testing.B, number int) (eventlog.Event, digest.Dual, []byte) {
	b.Helper()
	content := digest.Of(binary.BigEndian.AppendUint64(nil, uint64(number)))
	name := fmt.Sprintf("package-%d", number%1000)
	encoded, err := manifest.Encode(&manifest.Manifest{Producer: "bench", Name: name, Version: fmt.Sprint(number),
		Files: []manifest.File{{Path: "bin/program", Size: 4096, Digests: content}}})
	if err != nil {
		b.Fatal(err)
	}
	published, err := event.New("bench", event.PackagePublished{Producer: "bench", Name: name, Version: fmt.Sprint(number),
		RetentionClass: "release", Tier: "hot", Backends: []string{foldBackend}, Manifest: encoded})
	if err != nil {
		b.Fatal(err)
	}
	return published, content, encoded
}

// openFold opens a database with the log and its views, and tells its file and the number
// of the next package: an empty one, or the one that is named by the environment.
func openFold(b *testing.B) (log *eventlog.Log, path string, number int) {
	b.Helper()
	path = os.Getenv(overVariable)
	if path == "" {
		path = filepath.Join(b.TempDir(), "log.db")
	}
	log, db := openFoldAt(b, "sqlite://"+path)
	if os.Getenv(overVariable) != "" {
		if err := db.Read(b.Context(), func(tx database.Tx) error {
			return tx.QueryRowContext(b.Context(), "SELECT MAX(position) FROM events").Scan(&number)
		}); err != nil {
			b.Fatal(err)
		}
		if number++; number < overFirst {
			number += overFirst // the packages that are there have lower ones
		}
	}
	return log, path, number
}

func openFoldAt(b *testing.B, address string) (*eventlog.Log, *database.DB) {
	b.Helper()
	db, err := database.Open(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	log, err := openViews(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { log.Close() })
	return log, db
}

// BenchmarkFold appends batches of packages to a log with views in which 10,000 are, or
// those of the database that the environment names. One operation is a batch.
func BenchmarkFold(b *testing.B) {
	log, _, number := openFold(b)
	foldInto(b, log, number)
}

// BenchmarkFoldPostgres is BenchmarkFold on a database of PostgreSQL, whose address is in
// FOLD_DATABASE.
func BenchmarkFoldPostgres(b *testing.B) {
	address := os.Getenv("FOLD_DATABASE")
	if address == "" {
		b.Skip("FOLD_DATABASE names no database")
	}
	foldRuns++
	log, _ := openFoldAt(b, address)
	foldInto(b, log, foldRuns*10_000_000) // all runs of this benchmark are in one database
}

var foldRuns int

func foldInto(b *testing.B, log *eventlog.Log, number int) {
	b.Helper()
	batch := func() []eventlog.Event {
		events := make([]eventlog.Event, foldBatch)
		for i := range events {
			events[i], _, _ = packageEvent(b, number)
			number++
		}
		return events
	}
	add := func(events []eventlog.Event) {
		if _, err := log.Append(b.Context(), func(context.Context, database.Tx) ([]eventlog.Event, error) { return events, nil }); err != nil {
			b.Fatal(err)
		}
	}
	for range foldBefore / foldBatch {
		add(batch())
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		events := batch()
		b.StartTimer()
		add(events)
	}
}

// BenchmarkBareRows inserts the same rows into the same tables with the same driver, by
// prepared statements of a batch's length. One operation is a batch.
func BenchmarkBareRows(b *testing.B) {
	_, path, number := openFold(b) // for its tables
	bare, err := openBare(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { bare.Close() })
	rows := map[string]struct{ columns, rows int }{"events": {8, foldBatch}, "package_files": {7, foldBatch}, "blobs": {3, 2 * foldBatch}, "storage_locations": {8, 2 * foldBatch}, "packages": {15, foldBatch}}
	prepared := map[string]*sql.Stmt{}
	for table, size := range rows {
		one := "(" + strings.TrimSuffix(strings.Repeat("?,", size.columns), ",") + ")"
		text := "INSERT INTO " + table + columnsOf[table] + " VALUES " + strings.TrimSuffix(strings.Repeat(one+",", size.rows), ",")
		if prepared[table], err = bare.Prepare(text); err != nil {
			b.Fatal(err)
		}
	}
	batch := func() map[string][]any {
		values := map[string][]any{}
		for range foldBatch {
			published, content, encoded := packageEvent(b, number)
			number++
			sealed := digest.Of(encoded)
			zero := make([]byte, 32)
			values["events"] = append(values["events"], number, 1, published.Kind, published.Actor, published.Subject, zero, sealed.BLAKE3.Bytes(), published.Payload)
			values["package_files"] = append(values["package_files"], number, 0, "bin/program", content.SHA256.Bytes(), 0, "", "bench")
			values["packages"] = append(values["packages"], number, "bench", fmt.Sprintf("package-%d", number%1000), fmt.Sprint(number), sealed.SHA256.Bytes(), len(encoded),
				"release", "hot", "", "{}", 1, 4096, 1, "bench", foldBackend)
			for _, d := range []digest.Dual{content, sealed} {
				values["blobs"] = append(values["blobs"], d.SHA256.Bytes(), d.BLAKE3.Bytes(), 4096)
				values["storage_locations"] = append(values["storage_locations"], foldBackend, d.SHA256.Bytes(), "live", "", "", number, 0, 0)
			}
		}
		return values
	}
	add := func(values map[string][]any) {
		tx, err := bare.Begin()
		if err != nil {
			b.Fatal(err)
		}
		for _, table := range []string{"events", "package_files", "blobs", "storage_locations", "packages"} {
			if _, err := tx.Stmt(prepared[table]).Exec(values[table]...); err != nil {
				b.Fatalf("%s: %v", table, err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	for number < foldBefore {
		add(batch())
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		values := batch()
		b.StartTimer()
		add(values)
	}
}

var columnsOf = map[string]string{
	"events":            " (position, time, kind, actor, subject, previous, hash, payload)",
	"package_files":     " (package, number, path, sha256, executable, media_type, producer)",
	"blobs":             " (sha256, blake3, size)",
	"storage_locations": " (backend_id, sha256, state, reason, detail, changed, checked, checked_us)",
	"packages":          " (position, producer, name, version, manifest_sha256, manifest_size, retention_class, tier, media_type, annotations, files, bytes, published_us, actor, backend_id)",
}
