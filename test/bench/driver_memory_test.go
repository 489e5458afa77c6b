package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/bench/load"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// benchSize is the size in MiB of large objects; unset, each benchmark's own.
	benchSize = "BENCH_SIZE_MIB"

	putsAtOnce = 64
	// besidesPool is how much a process may take beyond its budget of buffers.
	besidesPool = 64 * mebibyte
)

// sizeOr is the size of large objects in bytes.
func sizeOr(usual int64) int64 {
	if mib, err := strconv.ParseInt(os.Getenv(benchSize), 10, 32); err == nil && mib > 0 {
		return mib * mebibyte
	}
	return usual
}

// BenchmarkDriverMemory puts 64 large objects at once, half of them with digests
// that are known, and asks the kernel for the most memory that a process with
// nothing else in it ever had. They are 256 MiB each, in about a minute; with
// BENCH_SIZE_MIB=1024 they are of 1 GiB.
func BenchmarkDriverMemory(b *testing.B) {
	size := sizeOr(256 * mebibyte)
	for range b.N {
		server := servers.MinIOCompressing(b) // the disk holds what is left of them
		measurePutting(b, "S3", load.Putting{Server: on(server), Pool: buffer.DefaultTotal, Puts: putsAtOnce, Size: size, Known: 2})
		empty(b, server)
	}
}

// BenchmarkDriverMemoryOfClients does so with many clients and the least memory
// that the manager may be given: 1,000 and 2,000 objects at once, of a size that
// takes no buffer of the budget, of one that takes one, and of one that goes up in parts.
func BenchmarkDriverMemoryOfClients(b *testing.B) {
	const pool = 2 * buffer.DefaultEach
	for range b.N {
		for _, puts := range []int{1000, 2000} {
			for _, size := range []int64{60 << 10, mebibyte, 17 * mebibyte} {
				b.Run(fmt.Sprintf("%dx%dKiB", puts, size>>10), func(b *testing.B) {
					if size <= mebibyte {
						measurePutting(b, "a folder", load.Putting{Folder: b.TempDir(), Pool: pool, Puts: puts, Size: size, Known: 1})
						server := servers.S3(b)
						measurePutting(b, "S3", load.Putting{Server: on(server), Pool: pool, Puts: puts, Size: size, Known: 1})
						empty(b, server)
						return
					}
					server := servers.MinIOCompressing(b)
					measurePutting(b, "S3", load.Putting{Server: on(server), Pool: pool, Puts: puts, Size: size, Known: 2})
					empty(b, server)
				})
			}
		}
	}
}

// on returns where the driver puts on server.
func on(server servers.S3Server) *load.Server {
	return &load.Server{
		Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket, Prefix: driverPrefix,
		AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	}
}

// measurePutting records the most memory that p took in a process that has the
// drivers and nothing else.
func measurePutting(b *testing.B, where string, p load.Putting) {
	b.Helper()
	description, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(programs.Build(b, "./test/bench/putmany"))
	command.Stdin = bytes.NewReader(description)
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	began := time.Now()
	if err := servers.Start(command); err != nil {
		b.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		b.Fatalf("%v: %s", err, problems.Bytes())
	}
	took := time.Since(began)
	peak, err := strconv.ParseInt(strings.TrimSpace(output.String()), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	over := peak - p.Pool
	b.ReportMetric(float64(peak)/mebibyte, "peakMiB")
	record(figure{
		fmt.Sprintf("peak memory of %d puts of %d KiB at once to %s, beyond %d MiB of buffers", p.Puts, p.Size>>10, where, p.Pool/mebibyte),
		fmt.Sprintf("%d MiB", over/mebibyte), fmt.Sprintf("<= %d MiB", besidesPool/mebibyte), over > besidesPool,
	})
	total := int64(p.Puts) * p.Size
	told("  all of them; their speed", fmt.Sprintf("%.1f s; %s", took.Seconds(), rate(total, took)))
}
