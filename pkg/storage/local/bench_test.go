package local_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
)

func openBench(b *testing.B) *local.Backend {
	backend, err := local.Open(b.Context(), local.Config{Path: b.TempDir()}, buffer.Default())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { backend.Close() })
	return backend
}

// BenchmarkSmall measures mostly the disk's fsync.
func BenchmarkSmall(b *testing.B) {
	backend := openBench(b)
	var next atomic.Uint64
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			data := storagetest.Bytes(next.Add(1), 8<<10)
			if _, err := backend.Put(b.Context(), storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data))}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkLarge reads zeros, hashes twice and writes to the disk.
func BenchmarkLarge(b *testing.B) {
	const size = 256 << 20
	backend := openBench(b)
	var got digest.Dual
	b.SetBytes(size)
	for b.Loop() {
		info, err := backend.Put(b.Context(), storage.Source{Reader: io.LimitReader(zeros{}, size), Size: size, Want: got})
		if err != nil {
			b.Fatal(err)
		}
		got = info.Digests
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
