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
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// putManyServer has this program put many large objects at once to the
	// server that it describes, and tell the most memory it ever had.
	putManyServer = "BENCH_PUT_MANY"
	// benchSize is the size in MiB of large objects; unset, each benchmark's own.
	benchSize = "BENCH_SIZE_MIB"

	putsAtOnce = 64
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
	const goal = 64
	size := sizeOr(256 * mebibyte)
	for range b.N {
		server := servers.MinIOCompressing(b) // the disk holds what is left of them
		description, err := json.Marshal(server)
		if err != nil {
			b.Fatal(err)
		}
		program, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		command := exec.Command(program)
		command.Env = append(os.Environ(), putManyServer+"="+string(description), fmt.Sprintf("%s=%d", benchSize, size/mebibyte))
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
		empty(b, server)
		peak, err := strconv.ParseInt(strings.TrimSpace(output.String()), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		over := peak - buffer.DefaultTotal
		b.ReportMetric(float64(peak)/mebibyte, "peakMiB")
		record(figure{
			fmt.Sprintf("peak memory of %d puts of %d MiB at once, beyond the %d MiB of buffers", putsAtOnce, size/mebibyte, buffer.DefaultTotal/mebibyte),
			fmt.Sprintf("%d MiB", over/mebibyte), fmt.Sprintf("<= %d MiB", goal), over > goal*mebibyte,
		})
		told("  all of them; their speed", fmt.Sprintf("%.0f s; %s", took.Seconds(), rate(putsAtOnce*size, took)))
	}
}

// putMany is the process that is measured.
func putMany(description string) error {
	// As the manager does; without a limit the collector lets as much garbage
	// pile up as there are buffers.
	debug.SetMemoryLimit(buffer.DefaultTotal + 48*mebibyte)
	var server servers.S3Server
	if err := json.Unmarshal([]byte(description), &server); err != nil {
		return err
	}
	config := driverConfig(server)
	config.RequestTimeout = 10 * time.Minute // while it copies 32 objects at once the server says nothing
	backend, err := s3.New(config, buffer.Default())
	if err != nil {
		return err
	}
	size := sizeOr(0)
	sources := make([]storage.Source, putsAtOnce)
	for i := range sources {
		sources[i] = storage.Source{Reader: compressible(i, size), Size: storage.UnknownSize}
		if i%2 == 0 {
			// One after the other: what hashing takes is not the driver's.
			hashed := digest.NewReader(compressible(i, size))
			if _, err := io.Copy(io.Discard, hashed); err != nil {
				return err
			}
			sources[i].Size, sources[i].Want = size, hashed.Sum()
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
