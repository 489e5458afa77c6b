package verify

import (
	"fmt"
	"slices"
	"time"
)

// Mode says which locations a run reads.
type Mode string

// The modes.
const (
	// Full reads every location.
	Full Mode = "full"
	// Rolling reads a share, so that runs at an interval read every location
	// once in a period; see plan.
	Rolling Mode = "rolling"
	// Failed reads the locations that failed before, to find those that were restored.
	Failed Mode = "failed"
)

// Options of a run. The zero value reads everything with four readers.
type Options struct {
	// Mode; "" is Full.
	Mode Mode
	// RollingPeriod is the time in which every location is read once,
	// RollingInterval the time until the next run; 0 is the default.
	RollingPeriod, RollingInterval time.Duration
	// Concurrency is how many objects are read at once; 0 is DefaultConcurrency.
	Concurrency int
	// Bandwidth bounds what all of them read together, in bytes per second; 0 is no bound.
	Bandwidth int64
	// TimeLimit is the time after which no further object is begun; 0 is no limit.
	// Objects that are being read then are read to their end.
	TimeLimit time.Duration
}

// OptionError names an option in camelCase and what was expected.
type OptionError struct{ Field, Message string }

func (e *OptionError) Error() string { return e.Field + ": " + e.Message }

// Validate checks the options: an *OptionError.
func (o Options) Validate() error {
	between := func(field string, d time.Duration) error {
		if d != 0 && (d < MinDuration || d > MaxDuration) {
			return &OptionError{field, fmt.Sprintf("must be from %s to %s, is %s", MinDuration, MaxDuration, d)}
		}
		return nil
	}
	if !slices.Contains([]Mode{"", Full, Rolling, Failed}, o.Mode) {
		return &OptionError{"mode", fmt.Sprintf("%.40q must be %s, %s or %s", string(o.Mode), Full, Rolling, Failed)}
	}
	if o.Mode != Rolling && (o.RollingPeriod != 0 || o.RollingInterval != 0) {
		return &OptionError{"mode", "must be rolling where rollingPeriod or rollingInterval is set"}
	}
	if o.Concurrency < 0 || o.Concurrency > MaxConcurrency {
		return &OptionError{"concurrency", fmt.Sprintf("must be from 1 to %d, is %d", MaxConcurrency, o.Concurrency)}
	}
	if o.Bandwidth != 0 && o.Bandwidth < MinBandwidth {
		return &OptionError{"bandwidth", fmt.Sprintf("must be at least %d, is %d", MinBandwidth, o.Bandwidth)}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"rollingPeriod", o.RollingPeriod}, {"rollingInterval", o.RollingInterval}, {"timeLimit", o.TimeLimit}} {
		if err := between(d.field, d.value); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Full
	}
	if o.Mode == Rolling && o.RollingPeriod == 0 {
		o.RollingPeriod = DefaultRollingPeriod
	}
	if o.Mode == Rolling && o.RollingInterval == 0 {
		o.RollingInterval = DefaultRollingInterval
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	return o
}

// plan decides which of the locations, given oldest-verified first, a run
// reads. A rolling run reads
//
//   - those that were never verified,
//   - those that would be older than the period when the next run begins,
//   - and then the oldest, until the share interval/period of all is read.
//
// The share alone would read everything once in a period, were nothing added
// and no run missed; the first two make it so anyway.
type plan struct {
	all    bool
	due    time.Time // verified before it: must be read
	budget int64     // cost that is left
}

func newPlan(o Options, now time.Time, objects, bytes int64) plan {
	if o.Mode != Rolling || o.RollingInterval >= o.RollingPeriod {
		return plan{all: true}
	}
	share := float64(o.RollingInterval) / float64(o.RollingPeriod)
	return plan{
		due:    now.Add(o.RollingInterval - o.RollingPeriod),
		budget: max(1, int64(share*(float64(bytes)+objectCost*float64(objects)))),
	}
}

// takes reports whether the run reads l. Once it does not, it reads nothing
// that comes behind.
func (p *plan) takes(l Location) bool {
	if p.all || l.Verified.IsZero() {
		return true
	}
	if p.budget <= 0 && !l.Verified.Before(p.due) {
		return false
	}
	p.budget -= l.Size + objectCost
	return true
}
