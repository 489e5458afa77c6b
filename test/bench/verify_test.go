package bench

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
)

// BenchmarkVerifyLocal has the manager verify a blob of 1 GiB, which takes both digests of
// it, against one core's SHA-256 of the same stored file.
func BenchmarkVerifyLocal(b *testing.B) {
	const rounds, goal = 9, 0.95
	file := randomFile(b, gibibyte)
	manager, cli, objects := localRegistry(b)
	push(b, cli, file, "1")
	hash := strings.Fields(cli.Run(b, programs.ExitDone, "digest", file).Stdout)[0]
	hex := strings.TrimPrefix(hash, "sha256:")
	stored := filepath.Join(objects, "sha256", hex[:2], hex[2:4], hex)
	client := manager.Client(b)
	verify := func(int) time.Duration {
		began := time.Now()
		report, err := client.VerifyBackend(b.Context(), "only", registry.VerifyOptions{}, nil)
		if err != nil || report.Verified < 1 || report.CheckedBytes < gibibyte || report.Corrupt+report.Missing+report.Unreachable > 0 {
			b.Fatalf("%+v, %v", report, err)
		}
		return time.Since(began)
	}
	bare := func(int) time.Duration {
		began := time.Now()
		open, err := os.Open(stored)
		if err != nil {
			b.Fatal(err)
		}
		defer open.Close() //nolint:errcheck // opened for reading
		if _, err := io.CopyBuffer(sha256.New(), struct{ io.Reader }{open}, make([]byte, mebibyte)); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	bare(0) // the file is in the page cache
	for range b.N {
		c := inTurns(b, rounds, verify, bare)
		atLeast(b, "verify a blob of 1 GiB on local / SHA-256 of it by one core", c.ratio, goal)
		told("  manager; one core", rate(gibibyte, c.ours)+"; "+rate(gibibyte, c.bare))
	}
}
