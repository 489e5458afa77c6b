package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// latencyRounds is of how many runs a figure in milliseconds is the median.
	latencyRounds = 20
	// idleBelow is how many processors others may keep busy on an idle machine.
	idleBelow = 0.2
	// idleWithin is how long an idle machine is waited for.
	idleWithin = 30 * time.Second
)

// milliseconds records the median time of 20 runs, and how idle the machine was
// before them: a time, other than a ratio of two, says nothing about a busy one.
// Each run is given its number.
func milliseconds(b *testing.B, what string, goal float64, run func(round int) time.Duration) {
	b.Helper()
	median, machine := latency(b, run)
	b.ReportMetric(median, "ms")
	record(figure{what, fmt.Sprintf("%.2f ms", median), fmt.Sprintf("<= %g ms", goal), median > goal})
	told("  the machine before that", machine)
}

// latency waits until the machine is idle and returns the median in
// milliseconds, and in words how idle it was.
func latency(b *testing.B, run func(round int) time.Duration) (ms float64, machine string) {
	b.Helper()
	busy, until := processorsBusy(b), time.Now().Add(idleWithin)
	for busy > idleBelow && time.Now().Before(until) {
		busy = processorsBusy(b)
	}
	machine = fmt.Sprintf("%.2f of %d processors busy, load %s", busy, runtime.NumCPU(), loadAverage())
	if busy > idleBelow {
		machine += ": NOT IDLE"
	}
	all := make([]time.Duration, latencyRounds)
	for round := range all {
		all[round] = run(round)
	}
	return median(all).Seconds() * 1000, machine
}

// processorsBusy is how many processors were at work during a second, by the kernel's count.
func processorsBusy(b *testing.B) float64 {
	b.Helper()
	began, busy, all := time.Now(), 0.0, 0.0
	for _, sign := range []float64{-1, 1} {
		if sign > 0 {
			time.Sleep(time.Second - time.Since(began))
		}
		text, err := os.ReadFile("/proc/stat")
		if err != nil {
			b.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		for i, field := range strings.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
			ticks, err := strconv.ParseFloat(field, 64)
			if err != nil {
				b.Fatal(err)
			}
			all += sign * ticks
			if i != 3 && i != 4 {
				busy += sign * ticks
			}
		}
	}
	return busy / all * float64(runtime.NumCPU())
}

// loadAverage is the kernel's, over 1, 5 and 15 minutes.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
