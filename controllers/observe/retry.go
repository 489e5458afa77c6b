package observe

import (
	"math/rand/v2"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

// LookTime bounds one look: two drivers may be tried, each for the longest spec.probe.timeout.
const LookTime = 2*declared.MaxProbeTimeout + time.Minute

const (
	// retryLost is the longest wait before a place that gave no answer is probed
	// again: it may be back. The endpoint's breaker bounds the cost.
	retryLost = 15 * time.Second
	// lookStep: looks that are due within it begin together. To wake up once for
	// eight of them costs less than to wake up eight times, for what is idle between.
	lookStep = time.Second
	// openAgain is the wait while another goroutine works on the same backend.
	openAgain = 250 * time.Millisecond
	// jitterShare is added to each wait, so that many backends are not probed in step.
	jitterShare = 0.1
)

// refusals are the waits after a refusal, or for a declaration that cannot be
// followed. The fix usually changes an object or a Secret, which triggers a look
// at once.
var refusals = backoff.Policy{First: 15 * time.Second, Most: 5 * time.Minute}

// retryWait says when a backend is probed again after a problem: at its interval or sooner.
func retryWait(p *declared.Problem, again int, interval time.Duration) time.Duration {
	if p.Lost {
		return min(interval, retryLost)
	}
	return min(interval, refusals.Delay(again+1, 1))
}

// NextLook says when a backend is probed again, with a jitter, rounded up to the
// end of a step.
func NextLook(sb *v1alpha1.StorageBackend, seen status.Observation) time.Duration {
	return inStep(waitAfter(sb, seen))
}

// waitAfter is the wait after a look. A backend that still works with its
// previous credentials is probed as often as a healthy one.
func waitAfter(sb *v1alpha1.StorageBackend, seen status.Observation) time.Duration {
	wait := declared.ProbeInterval(sb)
	switch {
	case seen.Away != nil && seen.Away.Problem == nil:
		wait = min(wait, seen.Away.After)
	case seen.Problem != nil && seen.LastGood != status.LastGoodServes:
		wait = retryWait(seen.Problem, seen.Again, wait)
	}
	return wait
}

// inStep is jitter, and then to the end of the step that the wait ends in.
func inStep(wait time.Duration) time.Duration {
	now := time.Now()
	return now.Add(jitter(wait)).Truncate(lookStep).Add(lookStep).Sub(now)
}

// count records what a look found. d.mu is held.
func (d *driver) count() {
	switch p := d.problem; {
	case p == nil || p.Lost:
		d.refused = refused{}
	case p.Reason == d.refused.reason:
		d.refused.again++
	default:
		d.refused = refused{reason: p.Reason}
	}
}

// statusReady reports whether the recorded status found what is declared now Ready.
func statusReady(sb *v1alpha1.StorageBackend) bool {
	return sb.Status.ObservedGeneration == sb.Generation && meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionReady)
}

// rest is how long a declaration that failed is not tried again. It is 0 if the
// declaration changed, someone asks for a look, or the leader has found the
// backend Ready since. d.mu is held.
func (d *driver) rest(sb *v1alpha1.StorageBackend, config backends.Config, now time.Time) time.Duration {
	if d.problem == nil || d.untried(requestOf(sb)) || statusReady(sb) && !d.tried.ready || d.tried.generation != sb.Generation || !reflect.DeepEqual(d.tried.config, config) {
		return 0
	}
	wait := retryWait(d.problem, d.refused.again, declared.ProbeInterval(sb))
	return max(0, d.tried.at.Add(wait).Sub(now))
}

// untried reports whether someone asks for a look that was not made yet. One
// that no status says to be handled, as this process does not lead or a full
// probe is due, hurries nobody twice. d.mu is held.
func (d *driver) untried(request string) bool { return request != "" && request != d.tried.request }

// jitter adds up to jitterShare.
func jitter(wait time.Duration) time.Duration {
	added := time.Duration(jitterShare * float64(wait))
	return wait + backoff.Spread(added, 1, rand.Float64()) //nolint:gosec // spreads load
}
