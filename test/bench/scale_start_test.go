//go:build base

package bench

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/bench/load"
)

const (
	// startWithin is from the start of the process until it is ready.
	startWithin = time.Second
	// settleFor is how long a manager is left alone before it counts as idle, and idleFor
	// how long it is watched: the interval of its probes is a minute, up to a tenth.
	settleFor, idleFor = 30 * time.Second, 2 * time.Minute
	// idleMemory and idleShare of one core, in percent, are what it may take.
	idleMemory = 60 * mebibyte
	idleShare  = 0.5
)

// BenchmarkScaleStart starts a manager of ten backends with a log of many packages.
func BenchmarkScaleStart(b *testing.B) {
	packages := scaled(b)
	ours, _, _ := versionsOf(b)
	w := worldOf(b, ours, packages)
	all := make([]time.Duration, pairs)
	for i := range all {
		m := w.start(b, ours)
		all[i] = m.Started
		if err := m.Stop(); err != nil {
			b.Fatal(err)
		}
	}
	took := median(all)
	record(figure{fmt.Sprintf("start with a log of %d packages until ready (median of %d)", packages, pairs), fmt.Sprintf("%.2f s", took.Seconds()), "<= " + startWithin.String(), took > startWithin})
	told("  all of them; load", texts(all, time.Duration.Seconds)+"; "+loadAverage())
}

// BenchmarkScaleIdle has a manager of ten local folders and many packages do nothing but
// probe, at the default interval.
func BenchmarkScaleIdle(b *testing.B) {
	packages := scaled(b)
	ours, _, _ := versionsOf(b)
	m := worldOf(b, ours, packages).start(b, ours)
	wait(b, settleFor)
	before, probes, began := cpuTime(b, m.PID()), probesOf(b, m), time.Now()
	wait(b, idleFor)
	span := time.Since(began)
	share := 100 * (cpuTime(b, m.PID()) - before).Seconds() / span.Seconds()
	memory, err := load.Memory(m.PID(), "VmRSS")
	if err != nil {
		b.Fatal(err)
	}
	anonymous, err := load.Memory(m.PID(), "RssAnon")
	if err != nil {
		b.Fatal(err)
	}
	what := fmt.Sprintf("idle manager, %d packages, %d backends", packages, scaleBackends)
	record(figure{what + ": resident", fmt.Sprintf("%.1f MiB", float64(memory)/mebibyte), fmt.Sprintf("<= %d MiB", idleMemory/mebibyte), memory > idleMemory})
	told("  of that, not of files", fmt.Sprintf("%.1f MiB", float64(anonymous)/mebibyte))
	record(figure{what + ": CPU time", fmt.Sprintf("%.2f %% of a core", share), fmt.Sprintf("<= %g %%", idleShare), share > idleShare})
	told("  probes in that time; load", fmt.Sprintf("%d in %.0f s; %s", probesOf(b, m)-probes, span.Seconds(), loadAverage()))
	client := http.Client{Timeout: time.Minute}
	answer, err := client.Get(m.URL + "/v1/health") // it is a manager that works
	if err != nil {
		b.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		b.Fatalf("/v1/health answers %s, %v", answer.Status, err)
	}
}
