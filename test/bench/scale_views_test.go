//go:build base

package bench

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

const (
	// rebuildOfBulk is how fast a rebuild is to be against loading the same rows, and
	// checkOfBase how many times as fast as the other commit's a check.
	rebuildOfBulk = 0.5
	checkOfBase   = 3
	// replayMemory is what either may take, at any size.
	replayMemory = 128 * mebibyte
)

// BenchmarkScaleViews rebuilds and checks the views of many packages, against a load of
// the same rows whose indexes are made afterwards, and against the other commit's check.
func BenchmarkScaleViews(b *testing.B) {
	packages := scaled(b)
	ours, base, named := versionsOf(b)
	database := filepath.Join(b.TempDir(), "views.db")
	if err := copyFile(worldOf(b, ours, packages).database(), database); err != nil {
		b.Fatal(err)
	}
	a := []string{"ARTIFACTSTORE_DATABASE=sqlite://" + database}
	manager := filepath.Join(string(ours), "manager")
	rebuilt := measure(b, manager, a, "views", "rebuild")
	loaded := filepath.Join(b.TempDir(), "bulk.db")
	bulk := measure(b, scaleProgram(b, ours), []string{"BENCH_BULK=" + loaded, fmt.Sprintf("%s=%d", scalePackages, packages)})
	took, cpu, err := parseTimes(bulk.output)
	if err != nil {
		b.Fatalf("%v in %q", err, bulk.output)
	}
	checked := measure(b, manager, a, "views", "check")
	rate := func(took time.Duration) string {
		return fmt.Sprintf("%.0f packages/s", float64(packages)/took.Seconds())
	}
	atLeast(b, fmt.Sprintf("views rebuild of %d packages, against a bulk load of the same rows", packages), took.Seconds()/rebuilt.took.Seconds(), rebuildOfBulk)
	told("  rebuild; bulk load; by CPU time; load", fmt.Sprintf("%s; %s; %.2f; %s", rate(rebuilt.took), rate(took), cpu.Seconds()/rebuilt.cpu.Seconds(), loadAverage()))
	for what, u := range map[string]usage{"rebuild": rebuilt, "check": checked} {
		record(figure{fmt.Sprintf("peak memory of views %s of %d packages", what, packages), fmt.Sprintf("%.0f MiB", float64(u.peak)/mebibyte), fmt.Sprintf("<= %d MiB", replayMemory/mebibyte), u.peak > replayMemory})
	}
	told(fmt.Sprintf("views check of %d packages; CPU time", packages), fmt.Sprintf("%s; %.1f s", rate(checked.took), checked.cpu.Seconds()))
	if !named {
		return
	}
	theirs := worldOf(b, base, packages)
	before := measure(b, filepath.Join(string(base), "artifactstore"), []string{"ARTIFACTSTORE_DATABASE=sqlite://" + theirs.database()}, "views", "check")
	atLeast(b, fmt.Sprintf("views check of %d packages, against the other commit's", packages), before.took.Seconds()/checked.took.Seconds(), checkOfBase)
	told("  the other commit's; by CPU time; load", fmt.Sprintf("%s; %.2f; %s", rate(before.took), before.cpu.Seconds()/checked.cpu.Seconds(), loadAverage()))
}

// parseTimes reads how long a load of rows took, and its CPU time.
func parseTimes(text string) (took, cpu time.Duration, err error) {
	var words [2]string
	if _, err := fmt.Sscan(text, &words[0], &words[1]); err != nil {
		return 0, 0, err
	}
	took, errTook := time.ParseDuration(words[0])
	cpu, errCPU := time.ParseDuration(words[1])
	return took, cpu, errors.Join(errTook, errCPU)
}
