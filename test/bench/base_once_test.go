//go:build base

package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	onceClients = 16
	onceEach    = 250
	// onceGoal is how many times as fast as the base's three requests a package by one
	// request is to be, and onceOfBare how fast against the bare loop.
	onceGoal   = 4
	onceOfBare = 0.35
)

// BenchmarkBasePublishOnce has 16 clients publish packages of one small file by the way
// that the command line and the Go client take, the base's by its three requests, and a
// loop that only writes the same two objects and adds a row, of which commits are shared.
func BenchmarkBasePublishOnce(b *testing.B) {
	ours, base := versions(b)
	var took [3][]time.Duration
	for range b.N {
		for pair := range pairs {
			for turn := range 3 {
				which := (pair + turn) % 3
				took[which] = append(took[which], []func() time.Duration{
					func() time.Duration { return ours.publishOnce(b) },
					func() time.Duration { return base.publishInThree(b) },
					func() time.Duration { return bareWrites(b) },
				}[which]())
			}
		}
	}
	recordGoal(b, "publish 4 KiB by one request, 16 clients", onceGoal, took[0], took[1])
	recordGoal(b, "the same, against bare writes and rows", onceOfBare, took[0], took[2])
}

// postgresGoal is how many times as fast as the base's three requests a package by one
// request is to be on PostgreSQL.
const postgresGoal = 3

// BenchmarkBasePublishPostgres is BenchmarkBasePublishOnce on PostgreSQL, whose commits
// reach the disk, on the same machine; without the bare loop.
func BenchmarkBasePublishPostgres(b *testing.B) {
	ours, base := versions(b)
	var took [3][]time.Duration
	for range b.N {
		for pair := range pairs {
			for turn := range 3 {
				which := (pair + turn) % 3
				on := []string{"--database", servers.Postgres(b, servers.Durable())}
				took[which] = append(took[which], []func() time.Duration{
					func() time.Duration { return ours.publishOnce(b, on...) },
					func() time.Duration { return ours.publishInThree(b, on...) },
					func() time.Duration { return base.publishInThree(b, on...) },
				}[which]())
			}
		}
	}
	recordGoal(b, "publish 4 KiB by one request, 16 clients, PostgreSQL", postgresGoal, took[0], took[2])
	recordGoal(b, "the same by open, PUT and publish", noSlower, took[1], took[2])
}

func (v version) publishOnce(b *testing.B, arguments ...string) (took time.Duration) {
	v.with(b, localSpec, nil, func(m *programs.Manager) {
		registry := m.Client(b)
		took = together(b, onceClients, func(ctx context.Context, one int) error {
			for i := range onceEach {
				name := fmt.Sprintf("%d-%d", one, i)
				content := bytes.NewReader(small(name, i))
				given := false
				req := client.OpenUpload{PackageRef: client.PackageRef{Producer: "bench", Name: name, Version: "1"}, RetentionClass: "none"}
				if _, err := registry.PublishFiles(ctx, req, client.SentManifest{}, func() (file client.NamedContent, err error) {
					if given {
						return file, io.EOF
					}
					given = true
					return client.NamedContent{Path: "file", Content: client.Content{Reader: content, Size: content.Size()}}, nil
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}, arguments...)
	return took
}

func (v version) publishInThree(b *testing.B, arguments ...string) (took time.Duration) {
	v.with(b, localSpec, nil, func(m *programs.Manager) {
		registry := byHTTP{m.URL, newHTTPClient()}
		took = together(b, onceClients, func(ctx context.Context, one int) error {
			for i := range onceEach {
				name := fmt.Sprintf("%d-%d", one, i)
				if err := registry.publish(ctx, name, small(name, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}, arguments...)
	return took
}

// bareWrites stores a file and a manifest of that size as durably as the product does, and
// a row for them.
func bareWrites(b *testing.B) time.Duration {
	folder, err := os.MkdirTemp(b.TempDir(), "bare-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is the benchmark's
	db, err := database.Open(b.Context(), "sqlite://"+filepath.Join(folder, "rows.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing is left to write
	if err := db.Migrate(b.Context(), "bare", []string{"CREATE TABLE packages (name TEXT PRIMARY KEY, files BIGINT NOT NULL)"}); err != nil {
		b.Fatal(err)
	}
	const manifestBytes = 200
	return together(b, onceClients, func(ctx context.Context, one int) error {
		for i := range onceEach {
			name := fmt.Sprintf("%d-%d", one, i)
			content := small(name, i)
			for suffix, data := range map[string][]byte{".file": content, ".manifest": content[:manifestBytes]} {
				if err := writeDurably(folder, name+suffix, data); err != nil {
					return err
				}
			}
			if err := db.Group(ctx, func(tx database.Tx) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO packages VALUES ($1, $2)", name, 1)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeDurably writes a file under a temporary name, syncs it, renames it and syncs the folder.
func writeDurably(folder, name string, data []byte) error {
	temporary := filepath.Join(folder, name+".tmp")
	file, err := os.Create(temporary)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(folder, name)); err != nil {
		return err
	}
	into, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer into.Close() //nolint:errcheck // opened for reading
	return into.Sync()
}
