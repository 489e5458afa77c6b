package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/size"
)

// atMost records a ratio that has a goal and should be small.
func atMost(b *testing.B, what string, ratio, goal float64) {
	b.ReportMetric(ratio, "ratio")
	record(figure{what, fmt.Sprintf("%.3f", ratio), fmt.Sprintf("<= %.2f", goal), ratio > goal})
}

// BenchmarkBrokenLines pushes and pulls a file of 2 GiB through a line that breaks 20
// times, at random, and counts the bytes that crossed it.
func BenchmarkBrokenLines(b *testing.B) {
	const bytes, cuts = 2 * gibibyte, 20
	file := randomFile(b, bytes)
	for range b.N {
		manager, _, _ := localRegistry(b)
		line := faultproxy.Cutting(b, manager.URL)
		cli := programs.CLI{Server: line.URL}
		random := rand.New(rand.NewPCG(size.Seed(b), 1))
		through := func(where faultproxy.Where, run func()) float64 {
			at := make([]int64, cuts)
			for i := range at {
				at[i] = random.Int64N(bytes)
			}
			line.Arm(where, at...)
			run()
			if line.Cuts() != cuts {
				b.Fatalf("the line was cut %d times, want %d", line.Cuts(), cuts)
			}
			return float64(line.Passed(where)) / bytes
		}
		atMost(b, "push 2 GiB through 20 breaks, bytes sent / bytes", through(faultproxy.InRequest, func() { push(b, cli, file, "1") }), 1.05)
		into := filepath.Join(b.TempDir(), "pulled")
		atMost(b, "pull 2 GiB through 20 breaks, bytes read / bytes", through(faultproxy.InAnswer, func() {
			cli.Run(b, programs.ExitDone, "pull", "bench/package@1", "-d", into)
		}), 1.05)
		if err := os.RemoveAll(into); err != nil {
			b.Fatal(err)
		}
	}
}
