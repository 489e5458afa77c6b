package verify

import (
	"testing"
	"time"
)

const day = 24 * time.Hour

// TestPlan walks lists of locations, oldest first: how many a run takes.
func TestPlan(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 31, 3, 0, 0, 0, time.UTC)
	// aged are n locations of a size each, verified so long ago, each a second after the one before.
	aged := func(n int, size int64, ago time.Duration) (all []Location) {
		for i := range n {
			all = append(all, Location{Want: Want{Size: size}, Verified: now.Add(time.Duration(i)*time.Second - ago)})
		}
		return all
	}
	never := func(n int, size int64) []Location {
		all := aged(n, size, 0)
		for i := range all {
			all[i].Verified = time.Time{}
		}
		return all
	}
	rolling := Options{Mode: Rolling, RollingPeriod: 30 * day, RollingInterval: day}
	for _, tt := range []struct {
		name    string
		options Options
		list    []Location
		want    int
	}{
		{"full", Options{}, aged(300, 1000, day), 300},
		{"a thirtieth", rolling, aged(300, 1000, 20*day), 10},
		{"at least one", rolling, aged(3, 1000, 20*day), 1},
		{"nothing is there", rolling, nil, 0},
		{"all empty blobs, which cost a request each", rolling, aged(300, 0, 20*day), 10},
		{"one that is larger than the share", rolling, append(aged(1, 1<<40, 20*day), aged(299, 1000, 19*day)...), 1},
		{"those that were never verified, and the share", rolling, append(never(100, 1000), aged(200, 1000, 20*day)...), 110},
		{"those that would be overdue", rolling, append(aged(100, 1000, 30*day), aged(200, 1000, 20*day)...), 100},
		{"overdue by the next run", rolling, append(aged(100, 1000, 29*day+time.Hour), aged(200, 1000, 28*day)...), 100},
		{"not overdue by the next run", rolling, aged(300, 1000, 29*day-time.Hour), 10},
		{"a run each period", Options{Mode: Rolling, RollingPeriod: day, RollingInterval: day}, aged(300, 1000, time.Hour), 300},
		{"the defaults", Options{Mode: Rolling}, aged(300, 1000, 20*day), 10},
	} {
		var bytes int64
		for _, l := range tt.list {
			bytes += l.Size
		}
		plan, taken := newPlan(tt.options.withDefaults(), now, int64(len(tt.list)), bytes), 0
		for _, l := range tt.list {
			if !plan.takes(l) {
				break
			}
			taken++
		}
		if taken != tt.want {
			t.Errorf("%s: it takes %d of %d, want %d", tt.name, taken, len(tt.list), tt.want)
		}
	}
}
