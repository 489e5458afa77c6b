package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/bench/load"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// BenchmarkUploadMemory uploads 4 GiB of which neither size nor digest is told
// beforehand, and asks the kernel for the most memory that the manager ever had.
func BenchmarkUploadMemory(b *testing.B) {
	for range b.N {
		b.Run("s3", func(b *testing.B) {
			server := servers.S3(b)
			manager, _ := s3Registry(b, server)
			measureMemory(b, manager, "s3")
			empty(b, server)
		})
		b.Run("local", func(b *testing.B) {
			manager, _, _ := localRegistry(b)
			measureMemory(b, manager, "local")
		})
	}
}

func measureMemory(b *testing.B, manager *programs.Manager, driver string) {
	b.Helper()
	const size, goal = 4 * gibibyte, 256
	client := manager.Client(b)
	session, err := client.OpenUpload(context.Background(), registry.OpenUpload{
		PackageRef: registry.PackageRef{Producer: "bench", Name: "unknown", Version: "1"}, RetentionClass: "none",
	})
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	// A reader of no known length is sent in chunks, without Content-Length.
	file, err := client.PutFile(context.Background(), session.ID, "4GiB", registry.Content{Reader: endless(size), Size: storage.UnknownSize})
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	if _, err := client.Publish(context.Background(), session.ID, nil); err != nil {
		b.Fatal(err)
	}
	if file.Size != size {
		b.Fatalf("%d bytes arrived, want %d", file.Size, size)
	}
	peak, err := load.PeakMemory(manager.PID())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(peak)/mebibyte, "peakMiB")
	record(figure{"peak memory of 4 GiB of unknown digest to " + driver, fmt.Sprintf("%d MiB", peak/mebibyte), fmt.Sprintf("<= %d MiB", goal), peak > goal*mebibyte})
	told("  its speed", rate(size, took))
}

// BenchmarkUploadMemoryOfClients has 1,000 and 2,000 clients upload a file each at
// the same time, and asks the kernel for the most memory that the manager, as it
// is set up by default, ever had: it should fit a container of 256 MiB.
func BenchmarkUploadMemoryOfClients(b *testing.B) {
	const size, goal = mebibyte, 256
	for range b.N {
		for _, driver := range []string{"s3", "local"} {
			for _, clients := range []int{1000, 2000} {
				b.Run(fmt.Sprintf("%s/%d", driver, clients), func(b *testing.B) {
					var manager *programs.Manager
					if driver == "s3" {
						server := servers.S3(b)
						manager, _ = s3Registry(b, server)
						defer empty(b, server)
					} else {
						manager, _, _ = localRegistry(b)
					}
					client := manager.Client(b)
					defer client.Close()
					session, err := client.OpenUpload(b.Context(), registry.OpenUpload{
						PackageRef: registry.PackageRef{Producer: "bench", Name: "clients", Version: "1"}, RetentionClass: "none",
					})
					if err != nil {
						b.Fatal(err)
					}
					began := time.Now()
					group, ctx := errgroup.WithContext(b.Context())
					for i := range clients {
						group.Go(func() error {
							_, err := client.PutFile(ctx, session.ID, fmt.Sprint(i), registry.Content{Reader: load.Compressible(i, size), Size: size})
							return err
						})
					}
					if err := group.Wait(); err != nil {
						b.Fatal(err)
					}
					took := time.Since(began)
					peak, err := load.PeakMemory(manager.PID())
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(peak)/mebibyte, "peakMiB")
					record(figure{fmt.Sprintf("peak memory of the manager under %d uploads of %d KiB at once to %s", clients, size>>10, driver), fmt.Sprintf("%d MiB", peak/mebibyte), fmt.Sprintf("<= %d MiB", goal), peak > goal*mebibyte})
					told("  all of them; their speed", fmt.Sprintf("%.1f s; %s", took.Seconds(), rate(int64(clients)*size, took)))
				})
			}
		}
	}
}

// endless gives size bytes that are not the same in any two mebibytes, and
// hides that it has a length.
func endless(size int64) io.Reader {
	block := make([]byte, mebibyte)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(block) // never fails
	return io.LimitReader(&numbered{block: block}, size)
}

type numbered struct {
	block []byte
	rest  bytes.Reader
	next  uint64
}

func (n *numbered) Read(p []byte) (int, error) {
	if n.rest.Len() == 0 {
		copy(n.block, fmt.Appendf(nil, "%016x", n.next))
		n.next++
		n.rest.Reset(n.block)
	}
	return n.rest.Read(p)
}
