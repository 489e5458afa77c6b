// Package inprocess measures packages without a server. make bench BASE=…
// compiles these files into another commit's tree as well, so they use only what
// both trees have, and nothing of test/. views_test.go has another form there.
package inprocess

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

func BenchmarkDigest(b *testing.B) {
	data := make([]byte, 8<<20)
	for b.Loop() {
		if _, _, err := digest.Copy(io.Discard, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func tree() *manifest.Manifest {
	m := &manifest.Manifest{Producer: "p", Name: "n", Version: "1"}
	for i := range 10_000 {
		m.Files = append(m.Files, manifest.File{Path: fmt.Sprintf("some/folder/of/the/tree/%09d.go", i), Digests: digest.Of(nil)})
	}
	return m
}

func BenchmarkManifestEncode(b *testing.B) {
	m := tree()
	for b.Loop() {
		if _, err := manifest.Encode(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkManifestDecode(b *testing.B) {
	data, err := manifest.Encode(tree())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := manifest.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func openLocal(b *testing.B) *local.Backend {
	b.Helper()
	backend, err := local.Open(b.Context(), local.Config{Path: b.TempDir()}, buffer.Default())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { backend.Close() })
	return backend
}

// next numbers contents: none is stored twice.
var next atomic.Uint64

func put(b *testing.B, backend *local.Backend, size int) storage.Info {
	data := make([]byte, size)
	copy(data, fmt.Sprint(next.Add(1)))
	info, err := backend.Put(b.Context(), storage.Source{Reader: bytes.NewReader(data), Size: int64(size)})
	if err != nil {
		b.Fatal(err)
	}
	return info
}

func BenchmarkLocalPut4KiB(b *testing.B) {
	backend := openLocal(b)
	for b.Loop() {
		put(b, backend, 4<<10)
	}
}

func BenchmarkLocalPut16MiB(b *testing.B) {
	backend := openLocal(b)
	for b.Loop() {
		info := put(b, backend, 16<<20)
		b.StopTimer()
		if err := backend.Delete(b.Context(), info.Digests.SHA256); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkLocalGet4KiB(b *testing.B)  { benchmarkGet(b, 4<<10) }
func BenchmarkLocalGet16MiB(b *testing.B) { benchmarkGet(b, 16<<20) }

func benchmarkGet(b *testing.B, size int) {
	backend := openLocal(b)
	info := put(b, backend, size)
	for b.Loop() {
		body, _, err := backend.Get(b.Context(), info.Digests.SHA256, nil)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, body); n != int64(size) || err != nil {
			b.Fatalf("read %d bytes: %v", n, err)
		}
		if err := body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// openLog opens a log whose only view is a sum, in SQLite.
func openLog(b *testing.B) *eventlog.Log {
	b.Helper()
	db, err := database.Open(b.Context(), "sqlite://"+filepath.Join(b.TempDir(), "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if err := db.Migrate(b.Context(), "inprocess", []string{"CREATE TABLE sums (id BIGINT PRIMARY KEY, bytes BIGINT NOT NULL)", "INSERT INTO sums VALUES (1, 0)"}); err != nil {
		b.Fatal(err)
	}
	fold := func(ctx context.Context, tx database.Tx, rec eventlog.Record) error {
		_, err := tx.ExecContext(ctx, "UPDATE sums SET bytes = bytes + $1 WHERE id = 1", len(rec.Payload))
		return err
	}
	log, err := eventlog.Open(b.Context(), db, fold, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { log.Close() })
	return log
}

func appendOne(ctx context.Context, log *eventlog.Log) error {
	_, err := log.Append(ctx, func(context.Context, database.Tx) ([]eventlog.Event, error) {
		return []eventlog.Event{{Kind: "v1.test.happened", Actor: "bench", Subject: "s", Payload: make([]byte, 1<<10)}}, nil
	})
	return err
}

func BenchmarkEventlogAppend(b *testing.B) {
	log := openLog(b)
	for b.Loop() {
		if err := appendOne(b.Context(), log); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEventlogAppendBy16(b *testing.B) {
	log := openLog(b)
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := appendOne(b.Context(), log); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkEventlogRead(b *testing.B) {
	log := openLog(b)
	for range eventlog.MaxPage {
		if err := appendOne(b.Context(), log); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		records, err := log.Read(b.Context(), 0, eventlog.MaxPage)
		if err != nil || len(records) != eventlog.MaxPage {
			b.Fatalf("read %d records: %v", len(records), err)
		}
	}
}
