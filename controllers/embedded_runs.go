package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
)

// Verify reads a declared backend again and records what it finds. An error
// says why it did not look at all that it was to look at; damage is none. It is
// called for one backend at a time, for several at once.
type Verify func(ctx context.Context, backend string, run declared.Verification) error

// clockCheck is how often the clock is read: a machine that slept, or whose
// clock was set, begins a run no later than this.
const clockCheck = 5 * time.Second

// timetable is what a backend's runs have told; Embedded.mu guards it.
type timetable struct {
	edited  chan struct{} // has room for one
	lastRun string        // why the last run did not succeed
}

// runs begins a verification of one backend whenever its schedule says so,
// until ctx ends. While one is in progress no other starts: a time that passes
// meanwhile is skipped, as is one that passed while no manager ran.
func (e *Embedded) runs(ctx context.Context, name string, k *kept) {
	for ctx.Err() == nil {
		e.mu.Lock()
		sb := k.sb
		e.mu.Unlock()
		plan, followed := e.plan(sb)
		var at time.Time
		if followed {
			at = plan.Schedule.Next(e.clock())
		}
		if !e.wait(ctx, k, at) {
			continue
		}
		said := e.verify(ctx, name, plan)
		if ctx.Err() != nil {
			return
		}
		e.mu.Lock()
		k.timetable.lastRun = said
		e.mu.Unlock()
		k.look() // the conditions tell of it
	}
}

// plan of a backend whose runs are to be begun.
func (e *Embedded) plan(sb *v1alpha1.StorageBackend) (plan declared.Plan, followed bool) {
	if sb.Spec.Verification == nil || e.Verify == nil {
		return plan, false
	}
	plan, err := declared.PlanVerification(sb)
	return plan, err == nil && plan.Suspended == ""
}

// wait returns true at the time, which never comes if it is zero; false when the
// backend was edited before, and at the end.
func (e *Embedded) wait(ctx context.Context, k *kept, until time.Time) bool {
	for {
		var tick <-chan time.Time
		if !until.IsZero() {
			left := until.Sub(e.clock())
			if left <= 0 {
				return true
			}
			tick = time.After(min(left, clockCheck))
		}
		select {
		case <-ctx.Done():
			return false
		case <-k.timetable.edited:
			return false
		case <-tick:
		}
	}
}

// verify makes one run and says why it did not succeed.
func (e *Embedded) verify(ctx context.Context, name string, plan declared.Plan) string {
	ctx, cancel := context.WithTimeout(ctx, plan.Deadline+declared.DeadlineGrace)
	defer cancel()
	e.Logger.Info("a scheduled verification starts", "backend", name, "schedule", plan.Schedule.Spec)
	if err := e.Verify(ctx, name, plan.Verification); err != nil {
		return "the last run did not succeed: " + err.Error()
	}
	return ""
}

// scheduled says what becomes of sb's spec.verification. That it is overdue
// counts from when its objects were verified or stored: nothing here outlives
// the manager and knows since when the schedule stands.
func (e *Embedded) scheduled(sb *v1alpha1.StorageBackend, k *kept) *status.Scheduled {
	if sb.Spec.Verification == nil || e.Verify == nil {
		return nil
	}
	plan, err := declared.PlanVerification(sb)
	if err != nil {
		return &status.Scheduled{Problem: declared.Problemf(v1alpha1.ConditionVerificationScheduled, declared.ReasonScheduleInvalid, "%s", err)}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return &status.Scheduled{
		Suspended: plan.Suspended, Promise: plan.Promise(), LastRun: k.timetable.lastRun,
		Message: fmt.Sprintf("the manager starts a run at %q, %s", plan.Schedule.Spec, plan.Schedule.Zone),
	}
}

func (e *Embedded) clock() time.Time {
	if e.now == nil {
		return time.Now()
	}
	return e.now()
}
