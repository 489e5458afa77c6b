package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// putManyOf has this program put many objects at once, as the putting that
	// it holds says, and tell the most memory it ever had.
	putManyOf = "BENCH_PUT_MANY"
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

// putting is what a process of its own does.
type putting struct {
	Server *servers.S3Server // or
	Folder string            // of a local backend
	Pool   int64             // bytes of buffers
	Puts   int
	Size   int64
	Known  int // every so manieth digest is; 0: none
}

// BenchmarkDriverMemory puts 64 large objects at once, half of them with digests
// that are known, and asks the kernel for the most memory that a process with
// nothing else in it ever had. They are 256 MiB each, in about a minute; with
// BENCH_SIZE_MIB=1024 they are of 1 GiB.
func BenchmarkDriverMemory(b *testing.B) {
	size := sizeOr(256 * mebibyte)
	for range b.N {
		server := servers.MinIOCompressing(b) // the disk holds what is left of them
		measurePutting(b, "S3", putting{Server: &server, Pool: buffer.DefaultTotal, Puts: putsAtOnce, Size: size, Known: 2})
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
						measurePutting(b, "a folder", putting{Folder: b.TempDir(), Pool: pool, Puts: puts, Size: size, Known: 1})
						server := servers.S3(b)
						measurePutting(b, "S3", putting{Server: &server, Pool: pool, Puts: puts, Size: size, Known: 1})
						empty(b, server)
						return
					}
					server := servers.MinIOCompressing(b)
					measurePutting(b, "S3", putting{Server: &server, Pool: pool, Puts: puts, Size: size, Known: 2})
					empty(b, server)
				})
			}
		}
	}
}

// measurePutting records the most memory that p took.
func measurePutting(b *testing.B, where string, p putting) {
	b.Helper()
	description, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), putManyOf+"="+string(description))
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

// putMany is the process that is measured.
func putMany(description string) error {
	var p putting
	if err := json.Unmarshal([]byte(description), &p); err != nil {
		return err
	}
	// Tighter than the manager's, which has more to do than to put; without a
	// limit the collector lets as much garbage pile up as there are buffers. The rest is for what the kernel counts
	// beside Go's memory: the program itself, some 20 MiB.
	debug.SetMemoryLimit(p.Pool + 40*mebibyte)
	var config backends.Config
	if p.Server != nil {
		s3 := driverConfig(*p.Server)
		s3.RequestTimeout = 10 * time.Minute // while it copies 32 objects at once the server says nothing
		config.S3 = &s3
	} else {
		config.Local = &local.Config{Path: p.Folder}
	}
	backend, err := backends.Open(context.Background(), config, buffer.New(p.Pool, buffer.DefaultEach))
	if err != nil {
		return err
	}
	sources := make([]storage.Source, p.Puts)
	for i := range sources {
		sources[i] = storage.Source{Reader: compressible(i, p.Size), Size: storage.UnknownSize}
		if p.Known > 0 && i%p.Known == 0 {
			// One after the other: what hashing takes is not the driver's.
			hashed := digest.NewReader(compressible(i, p.Size))
			if _, err := io.Copy(io.Discard, hashed); err != nil {
				return err
			}
			sources[i].Size, sources[i].Want = p.Size, hashed.Sum()
		}
	}
	puts, ctx := errgroup.WithContext(context.Background())
	for _, src := range sources {
		puts.Go(func() error {
			_, err := backend.Put(ctx, src)
			return err
		})
	}
	if err := puts.Wait(); err != nil {
		return err
	}
	peak, err := peakMemory(os.Getpid())
	if err != nil {
		return err
	}
	fmt.Println(peak)
	return nil
}

// compressible gives size bytes that are another object's nowhere, and that a
// server can make small. It takes no memory of its own.
func compressible(object int, size int64) io.Reader {
	return io.LimitReader(&stamped{object: object}, size)
}

// stamped is one line of text again and again, and a number at the start of
// each block.
type stamped struct {
	object int
	at     int64
}

const stampedBlock = 64 << 10

var filling = bytes.Repeat([]byte("A line that comes again and again, 64 bytes of it and no others\n"), stampedBlock/64)

func (s *stamped) Read(p []byte) (int, error) {
	from := s.at % stampedBlock
	n := copy(p, filling[from:])
	if from < 32 {
		stamp := fmt.Appendf(nil, "%016x%016x", s.object, s.at/stampedBlock)
		copy(p[:n], stamp[from:])
	}
	s.at += int64(n)
	return n, nil
}
