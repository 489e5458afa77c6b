package controllers

import (
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

// The defaults and bounds of spec.probe, as the schema has them: files have no schema.
const (
	defaultInterval         = time.Minute
	defaultTimeout          = 15 * time.Second
	defaultFailureThreshold = 3

	minInterval, maxInterval = 5 * time.Second, 24 * time.Hour
	minTimeout, maxTimeout   = time.Second, 5 * time.Minute
	maxFailureThreshold      = 20
)

const (
	// retryLost is the longest wait before a place that gave no answer is looked
	// at again: it may be back. The endpoint's breaker spaces what that costs.
	retryLost = 15 * time.Second
	// retryRefused is the first wait after an answer of no, or a declaration that
	// cannot be followed, and retryRefusedMost the last; it doubles. Who mends
	// it changes an object or a Secret, most of the time, which is noticed at once.
	retryRefused     = 15 * time.Second
	retryRefusedMost = 5 * time.Minute
	// lookStep: looks that are due within it begin together. To wake up once for
	// eight of them costs less than to wake up eight times, for what is idle between.
	lookStep = time.Second
	// openAgain is the wait for another who is at work on the same backend.
	openAgain = 250 * time.Millisecond
)

// retryWait says when a backend is looked at again after a problem: at its interval or sooner.
func retryWait(p *Problem, again int, interval time.Duration) time.Duration {
	if p.Lost {
		return min(interval, retryLost)
	}
	return min(interval, retryRefusedMost, retryRefused<<min(again, 10))
}

// nextLook says when a backend is looked at again. What goes on by the
// credentials that worked last is looked at as what is well is.
func nextLook(sb *v1alpha1.StorageBackend, seen Observation, jitter func(time.Duration) time.Duration) time.Duration {
	wait := duration(sb.Spec.Probe.Interval, defaultInterval)
	switch {
	case seen.Away != nil && seen.Away.problem == nil:
		wait = min(wait, seen.Away.after)
	case seen.Problem != nil && seen.LastGood != LastGoodServes:
		wait = retryWait(seen.Problem, seen.Again, wait)
	}
	return jitter(wait)
}

// inStep is jitter, and then to the end of the step that the wait ends in.
func inStep(wait time.Duration) time.Duration {
	now := time.Now()
	return now.Add(jitter(wait)).Truncate(lookStep).Add(lookStep).Sub(now)
}

// count takes note of what a look has found. d.mu is held.
func (d *driver) count() {
	switch p := d.problem; {
	case p == nil || p.Lost:
		d.again, d.refused = 0, ""
	case p.Reason == d.refused:
		d.again++
	default:
		d.again, d.refused = 0, p.Reason
	}
}

// statusReady reports whether the recorded status found what is declared now Ready.
func statusReady(sb *v1alpha1.StorageBackend) bool {
	return sb.Status.ObservedGeneration == sb.Generation && meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionReady)
}

// rest is how long what was tried without success is still left alone, unless
// something changed: what is declared, that someone asks, or that the leader
// has found it Ready since. d.mu is held.
func (d *driver) rest(sb *v1alpha1.StorageBackend, config backends.Config, now time.Time) time.Duration {
	if d.problem == nil || d.untried(requestOf(sb)) || statusReady(sb) && !d.tried.ready || d.tried.generation != sb.Generation || !reflect.DeepEqual(d.tried.config, config) {
		return 0
	}
	wait := retryWait(d.problem, d.again, duration(sb.Spec.Probe.Interval, defaultInterval))
	return max(0, d.tried.at.Add(wait).Sub(now))
}

// untried reports whether someone asks for a look that was not made yet. One
// that no status says to be handled, as this process does not lead or a full
// probe is due, hurries nobody twice. d.mu is held.
func (d *driver) untried(request string) bool { return request != "" && request != d.tried.request }
