// Package bench measures the programs against the bare parts that they are
// built on. Figures are ratios of two things measured in one run, in
// turns, on real servers; a goal that is missed makes the exit code nonzero.
//
// Run it by make bench, or one part by go test -run '^$' -bench Get -benchtime 1x.
package bench

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// fileServerFolder has this program be the bare file server, as a process of its own.
const fileServerFolder = "BENCH_FILE_SERVER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(fileServerFolder); folder != "" {
		serveFiles(folder)
		return
	}
	code := m.Run()
	if printTable() {
		code = max(code, 1)
	}
	for _, remove := range atEnd {
		if err := remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// atEnd removes what several benchmarks use.
var atEnd []func() error

// figure is one row of the table at the end.
type figure struct {
	what, value, goal string
	missed            bool
}

var figures struct {
	sync.Mutex
	rows []figure
}

func record(f figure) {
	figures.Lock()
	defer figures.Unlock()
	figures.rows = append(figures.rows, f)
}

// atLeast records a ratio that has a goal.
func atLeast(b *testing.B, what string, ratio, goal float64) {
	b.ReportMetric(ratio, "ratio")
	record(figure{what, fmt.Sprintf("%.2f", ratio), fmt.Sprintf(">= %.2f", goal), ratio < goal})
}

// told records a figure that has none.
func told(what, value string) { record(figure{what: what, value: value}) }

// printTable reports whether a goal was missed.
func printTable() (missed bool) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nFIGURE\tVALUE\tGOAL\t")
	for _, f := range figures.rows {
		verdict := ""
		if f.goal != "" {
			verdict = map[bool]string{false: "ok", true: "MISSED"}[f.missed]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.what, f.value, f.goal, verdict)
		missed = missed || f.missed
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return missed
}

// comparison is what rounds of two things in turns came to.
type comparison struct {
	ours, bare time.Duration // medians
	ratio      float64       // median of the rounds' ratios of throughput: bare / ours of the times
}

// inTurns runs both, one after the other, several times. What slows the machine
// for a while slows both of a round, so that its ratio stands; they take turns at
// being first, for a machine that becomes quicker or slower favours one. Each is
// given the number of its round.
func inTurns(b *testing.B, rounds int, ours, bare func(round int) time.Duration) comparison {
	b.Helper()
	var oneself, others []time.Duration
	var ratios []float64
	for round := range rounds {
		timed := func(run func(int) time.Duration) time.Duration {
			unix.Sync() // what was written before is not written back during what is measured now
			return run(round)
		}
		var one, other time.Duration
		if round%2 == 0 {
			one, other = timed(ours), timed(bare)
		} else {
			other, one = timed(bare), timed(ours)
		}
		oneself, others = append(oneself, one), append(others, other)
		ratios = append(ratios, other.Seconds()/one.Seconds())
	}
	b.Logf("%s s against %s s, ratios %s", texts(oneself, time.Duration.Seconds), texts(others, time.Duration.Seconds), texts(ratios, func(r float64) float64 { return r }))
	return comparison{median(oneself), median(others), median(ratios)}
}

func median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func texts[T any](all []T, number func(T) float64) string {
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = fmt.Sprintf("%.2f", number(one))
	}
	return strings.Join(words, " ")
}

func rate(bytes int64, took time.Duration) string {
	return fmt.Sprintf("%.0f MB/s", float64(bytes)/1e6/took.Seconds())
}

// serveFiles is net/http's FileServer; it says where it serves.
func serveFiles(folder string) {
	listener, err := listenLoopback()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(listener, http.FileServer(http.Dir(folder)))) //nolint:gosec // it ends with its parent
}
