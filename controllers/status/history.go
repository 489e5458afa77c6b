package status

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// History is what is remembered between two looks at one backend.
type History struct {
	good *Observation // the last without a problem, if what came since is only lost probes
	lost int          // probes lost since
	// throttled is how many probes since, one after the other, were asked for
	// fewer requests by the first answer.
	throttled int
	// failures of the endpoint that were counted last in the place of a probe of this backend.
	failures int
}

// throttledProbes in a row, of which not a single request was carried out, are
// as one lost: with the defaults a place that does nothing but ask for fewer
// requests is out of service after half an hour, and back with the first probe.
const throttledProbes = 10

// Settle decides what an observation means after the earlier ones. A healthy place
// that gave no answer fewer than threshold times in a row counts as unchanged. A
// place that asks for fewer requests has answered. If this process has not seen
// the place healthy yet (a new leader), the recorded status decides.
func (h History) Settle(seen Observation, recorded v1alpha1.StorageBackendStatus, threshold int) (History, Observation) {
	switch {
	case seen.Problem == nil:
		return History{good: &seen}, seen
	case !seen.Problem.Lost:
		return History{}, seen
	}
	if h.good != nil && h.good.Generation != seen.Generation {
		h = History{}
	}
	if h.good == nil && !wasReady(recorded, seen) {
		return History{}, seen
	}
	if h.counts(seen) {
		h.lost++
	}
	if h.lost >= max(threshold, 1) {
		return History{}, seen
	}
	if h.good == nil {
		as := seen
		as.Problem, as.Stands = nil, seen.Problem
		return h, as
	}
	as := *h.good
	as.Findings, as.Capabilities, as.Pending, as.At, as.Request, as.Away = seen.Findings, seen.Capabilities, seen.Pending, seen.At, seen.Request, seen.Away
	as.Head = seen.Head
	return h, as
}

// counts reports whether a lost observation is one more lost probe. Where the
// backend was turned away it is one if its endpoint failed in the meantime,
// and not for the first time: one look at another backend proves nothing.
func (h *History) counts(seen Observation) bool {
	switch {
	case seen.Problem.Reason == storage.ReasonThrottled && seen.Problem.Condition != v1alpha1.ConditionReachable:
		h.throttled = 0 // it did something
		return false
	case seen.Problem.Reason == storage.ReasonThrottled:
		h.throttled++
		return h.throttled%throttledProbes == 0
	case seen.Away == nil:
		return true
	case seen.Away.Failures < 2 || seen.Away.Failures == h.failures:
		return false
	}
	h.failures = seen.Away.Failures
	return true
}

// wasReady reports whether the recorded status was Ready in a way that stands
// where a look is lost: as declared now, for an edit may be why no answer comes.
// One that asks for fewer requests has answered.
func wasReady(recorded v1alpha1.StorageBackendStatus, seen Observation) bool {
	return recorded.ID != "" && meta.IsStatusConditionTrue(recorded.Conditions, v1alpha1.ConditionReady) &&
		(recorded.ObservedGeneration == seen.Generation || seen.Problem.Reason == storage.ReasonThrottled)
}
