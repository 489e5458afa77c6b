package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
)

// aClock is the machine's, set to another time.
type aClock struct{ shift atomic.Int64 }

func (c *aClock) now() time.Time { return time.Now().Add(time.Duration(c.shift.Load())) }

// passMinute sets it forward to the minute after the next: a run that waits is
// begun when the clock is looked at.
func (c *aClock) passMinute() {
	now := c.now()
	c.shift.Add(int64(now.Truncate(time.Minute).Add(2 * time.Minute).Sub(now)))
}

// aRun is one that was begun and waits to be told how it ends.
type aRun struct {
	backend string
	declared.Verification
	at, deadline time.Time
	end          chan error
	ended        <-chan struct{} // by its context
}

// runner begins runs as the test ends them.
type runner struct {
	clock   aClock
	begun   chan aRun
	running atomic.Int32
	joined  atomic.Bool // two ran at once
}

func (r *runner) verify(ctx context.Context, backend string, run declared.Verification) error {
	if r.running.Add(1) > 1 {
		r.joined.Store(true)
	}
	defer r.running.Add(-1)
	deadline, _ := ctx.Deadline()
	is := aRun{backend, run, r.clock.now(), deadline, make(chan error), ctx.Done()}
	r.begun <- is
	select {
	case err := <-is.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next lets minutes pass until a run is begun.
func (r *runner) next(t *testing.T) aRun {
	t.Helper()
	seen := time.NewTicker(clockCheck + time.Second)
	defer seen.Stop()
	for range 6 {
		r.clock.passMinute()
		select {
		case is := <-r.begun:
			return is
		case <-seen.C: // whoever began to wait after that minute waits for the next
		}
	}
	t.Fatal("no run is begun")
	panic("unreachable")
}

func scheduledYAML(name, verification string) string {
	return fmt.Sprintf("apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata: {name: %s}\nspec: {local: {path: %s}, verification: {%s}}\n---\n", name, name, verification)
}

func (e *embedded) logged(words ...string) {
	e.t.Helper()
	eventually(e.t, func() string {
		for line := range strings.SplitSeq(e.logs.String(), "\n") {
			found := 0
			for _, word := range words {
				if strings.Contains(line, word) {
					found++
				}
			}
			if found == len(words) {
				return ""
			}
		}
		return fmt.Sprintf("no line has %q", words)
	})
}

// declare writes a file and waits until it is taken up.
func (e *embedded) declare(name, content string) {
	e.t.Helper()
	const taken = "configuration loaded"
	before := strings.Count(e.logs.String(), taken)
	e.write(name, content)
	eventually(e.t, func() string {
		if strings.Count(e.logs.String(), taken) == before {
			return name + " is not taken up"
		}
		return ""
	})
}

func TestEmbeddedFollowsTheSchedule(t *testing.T) {
	t.Parallel()
	r := &runner{begun: make(chan aRun, 1)}
	const each = "schedule: '* * * * *'"
	e := startEmbeddedAs(t, map[string]string{
		"a.yaml": scheduledYAML("a", each+", mode: Rolling, rollingPeriod: 48h, concurrency: 2, bandwidth: 1Mi, deadline: 1h"),
		"b.yaml": localYAML("b", "b"), // that has no schedule is never read
	}, func(run *Embedded) { run.Verify, run.now = r.verify, r.clock.now })

	minute := r.clock.now().Truncate(time.Minute).Add(time.Minute)
	is := r.next(t)
	want := declared.Verification{Rolling: true, RollingPeriod: 48 * time.Hour, RollingInterval: time.Minute, Concurrency: 2, Bandwidth: 1 << 20, Deadline: time.Hour}
	if is.backend != "a" || is.Verification != want || is.at.Before(minute) {
		t.Errorf("%+v at %s; want %+v at %s", is.Verification, is.at, want, minute)
	}
	if left := time.Until(is.deadline); left < 74*time.Minute || left > 75*time.Minute {
		t.Errorf("it is broken off in %s", left)
	}
	e.logged("condition=VerificationScheduled", "status=True", "reason=Scheduled", "the manager starts a run at", "* * * * *", "Etc/UTC")

	// Minutes that pass meanwhile begin nothing, then or later; that it failed is told.
	r.clock.shift.Add(int64(10 * time.Minute))
	is.end <- errors.New("the place is away")
	e.logged("level=WARN", "condition=VerificationScheduled", "reason=LastRunFailed", "the place is away")
	if len(r.begun) > 0 {
		t.Errorf("a run that was missed is made up for")
	}
	minute = r.clock.now().Truncate(time.Minute).Add(time.Minute)
	if is = r.next(t); is.at.Before(minute) {
		t.Errorf("the next run is at %s, want %s", is.at, minute)
	}

	// Suspended, the run under way ends in peace and no other begins.
	e.declare("a.yaml", scheduledYAML("a", each+", suspend: true"))
	e.logged("level=WARN", "condition=VerificationScheduled", "status=False", "reason=VerificationSuspended")
	is.end <- nil
	e.declare("c.yaml", scheduledYAML("c", each))
	if is = r.next(t); is.backend != "c" {
		t.Errorf("%s is suspended", is.backend)
	}
	is.end <- nil

	// An edit begins runs again, as it says.
	e.declare("c.yaml", localYAML("c", "c"))
	e.declare("a.yaml", scheduledYAML("a", each))
	if is = r.next(t); is.backend != "a" || is.Verification != (declared.Verification{Concurrency: declared.DefaultVerificationConcurrency, Deadline: declared.DefaultDeadline}) {
		t.Errorf("%+v", is)
	}
	// What is no longer declared is not read to the end.
	e.declare("a.yaml", localYAML("other", "other"))
	select {
	case <-is.ended:
	case <-time.After(30 * time.Second):
		t.Error("the run of a backend that is no longer declared goes on")
	}
	if r.joined.Load() {
		t.Error("two runs at once")
	}
}

// The manager ends a run when it ends, and does not wait for it.
func TestEmbeddedEndsRuns(t *testing.T) {
	t.Parallel()
	r := &runner{begun: make(chan aRun, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	e := &Embedded{Verify: r.verify, now: r.clock.now, Logger: slog.New(slog.DiscardHandler)}
	sb := v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{Verification: &v1alpha1.VerificationSpec{Schedule: "* * * * *"}}}
	k := &kept{sb: &sb, kick: make(chan struct{}, 1), timetable: timetable{edited: make(chan struct{}, 1)}}
	ended := make(chan struct{})
	go func() { defer close(ended); e.runs(ctx, "a", k) }()
	r.next(t)
	cancel()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if k.timetable.lastRun != "" {
		t.Errorf("that it was ended is taken for a failure: %s", k.timetable.lastRun)
	}
}
