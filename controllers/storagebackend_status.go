package controllers

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Observation is what one look at a backend found.
type Observation struct {
	Generation        int64
	Driver, Place, ID string
	ReadOnly          bool
	// Credentials says how they were resolved: Resolved, NotNeeded or Ambient.
	Credentials string
	// Suspended: nothing was written or read but the marker.
	Suspended bool
	// Problem is the first thing found wrong, nil for none.
	Problem *Problem
	// Stands is why the recorded status stands although this look found nothing
	// out: an answer that is lacking and does not count yet; nil for none.
	Stands *Problem
	// Away: it was not looked at, as its endpoint does not answer or is busy; nil where it was.
	Away *turnedAway
	// LastGood is what goes on by the declaration that worked last.
	LastGood LastGood
	// Again is how many times in a row Problem was found before, where it is a refusal.
	Again int
	// Request is what someone has asked for by annotation and no status says yet; "" for nothing.
	Request string
	// Capabilities are what is known of full probes as it is declared now; nil for nothing.
	Capabilities []storage.Capability
	// Pending: a full probe is due or under way; what it finds comes later.
	Pending bool
	// Findings of verification; nil where they could not be read.
	Findings *registrar.Findings
	// Scheduled is what became of spec.verification; nil where there is none.
	Scheduled *Scheduled
	At        time.Time
}

// looked reports whether the observation says anything.
func (seen Observation) looked() bool { return seen.Away == nil || seen.Away.problem != nil }

// history is what a prober remembers between two looks at one backend.
type history struct {
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

// settle decides what an observation means after those before it: a place
// that was good and gave no answer fewer than threshold times in a row is taken
// to be as it was. A place that asks for fewer requests is there. Where this
// process saw nothing good yet (a new leader) the recorded status has the word.
func (h history) settle(seen Observation, recorded v1alpha1.StorageBackendStatus, threshold int) (history, Observation) {
	switch {
	case seen.Problem == nil:
		return history{good: &seen}, seen
	case !seen.Problem.Lost:
		return history{}, seen
	}
	if h.good != nil && h.good.Generation != seen.Generation {
		h = history{}
	}
	if h.good == nil && !wasReady(recorded, seen) {
		return history{}, seen
	}
	if h.counts(seen) {
		h.lost++
	}
	if h.lost >= max(threshold, 1) {
		return history{}, seen
	}
	if h.good == nil {
		as := seen
		as.Problem, as.Stands = nil, seen.Problem
		return h, as
	}
	as := *h.good
	as.Findings, as.Capabilities, as.Pending, as.At, as.Request, as.Away = seen.Findings, seen.Capabilities, seen.Pending, seen.At, seen.Request, seen.Away
	return h, as
}

// counts reports whether a lost observation is one more lost probe. Where the
// backend was turned away it is one if its endpoint failed in the meantime,
// and not for the first time: one look at another backend proves nothing.
func (h *history) counts(seen Observation) bool {
	switch {
	case seen.Problem.Reason == storage.ReasonThrottled && seen.Problem.Condition != v1alpha1.ConditionReachable:
		h.throttled = 0 // it did something
		return false
	case seen.Problem.Reason == storage.ReasonThrottled:
		h.throttled++
		return h.throttled%throttledProbes == 0
	case seen.Away == nil:
		return true
	case seen.Away.failures < 2 || seen.Away.failures == h.failures:
		return false
	}
	h.failures = seen.Away.failures
	return true
}

// wasReady reports whether the recorded status was Ready in a way that stands
// where a look is lost: as declared now, for an edit may be why no answer comes.
// One that asks for fewer requests has answered.
func wasReady(recorded v1alpha1.StorageBackendStatus, seen Observation) bool {
	return recorded.ID != "" && meta.IsStatusConditionTrue(recorded.Conditions, v1alpha1.ConditionReady) &&
		(recorded.ObservedGeneration == seen.Generation || seen.Problem.Reason == storage.ReasonThrottled)
}

// statusAfter is backendStatus, but of a look that was not made only what became of the schedule.
func statusAfter(seen Observation, previous v1alpha1.StorageBackendStatus) v1alpha1.StorageBackendStatus {
	if seen.looked() {
		return backendStatus(seen, previous)
	}
	next := previous.DeepCopy()
	scheduledCondition(seen, next)
	return *next
}

// backendStatus turns an observation into a status. previous gives the times of
// transition and, while probes are suspended or lost, the state that stands.
func backendStatus(seen Observation, previous v1alpha1.StorageBackendStatus) v1alpha1.StorageBackendStatus {
	next := v1alpha1.StorageBackendStatus{
		ObservedGeneration: seen.Generation, ID: seen.ID, Driver: seen.Driver, Place: seen.Place,
		LastVerified: previous.LastVerified, LastHandledRequest: previous.LastHandledRequest,
		LastGoodServes: seen.Problem != nil && seen.LastGood == LastGoodServes, Conditions: append([]metav1.Condition(nil), previous.Conditions...),
	}
	if next.ID == "" {
		// A place that cannot be reached keeps the id by which the log knows it.
		next.ID = previous.ID
	}
	if seen.Request != "" && !seen.Pending && seen.Away == nil { // else the look that it asks for is still to come
		next.LastHandledRequest = seen.Request
	}
	next.Capabilities = recordedCapabilities(seen.Capabilities)
	if seen.Findings != nil && !seen.Findings.LastVerified.IsZero() {
		// To the second, as the API server keeps it.
		next.LastVerified = &metav1.Time{Time: seen.Findings.LastVerified.UTC().Truncate(time.Second)}
	}
	next.FailedLocations = failedLocations(seen.Findings, previous)
	stages := []metav1.Condition{credentials(seen), reachable(seen, previous), writable(seen, previous)}
	broken := -1
	for i := range stages {
		if broken >= 0 {
			stages[i] = condition(stages[i].Type, metav1.ConditionUnknown, ReasonNotTried, stages[broken].Type+" is not True")
		} else if stages[i].Status != metav1.ConditionTrue && !(seen.ReadOnly && stages[i].Reason == ReasonReadOnly) {
			broken = i
		}
	}
	verified := verifiedCondition(seen)
	ready := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, "it takes and serves bytes")
	switch {
	case broken >= 0:
		ready = condition(v1alpha1.ConditionReady, stages[broken].Status, stages[broken].Reason, stages[broken].Message+goesOn(seen))
	case verified.Status == metav1.ConditionFalse:
		ready.Reason, ready.Message = ReasonFailedLocations, "it takes and serves bytes, but "+verified.Message
	case seen.ReadOnly:
		ready.Reason, ready.Message = ReasonReadOnly, "it serves bytes and takes none, as declared"
	}
	for _, c := range append(stages, verified, ready) {
		c.ObservedGeneration = seen.Generation
		if old := meta.FindStatusCondition(next.Conditions, c.Type); old == nil || old.Status != c.Status {
			c.LastTransitionTime = metav1.Time{Time: seen.At}
		}
		meta.SetStatusCondition(&next.Conditions, c)
	}
	scheduledCondition(seen, &next)
	return next
}

// goesOn says what becomes of bytes while what is declared does not work.
func goesOn(seen Observation) string {
	switch {
	case seen.Problem == nil:
	case seen.LastGood == LastGoodServes:
		return "; the credentials that worked last serve on"
	case seen.LastGood == LastGoodFailed:
		return "; the credentials that worked last do not work any more either"
	}
	return ""
}

func recordedCapabilities(found []storage.Capability) []v1alpha1.Capability {
	var all []v1alpha1.Capability
	for _, c := range found {
		all = append(all, v1alpha1.Capability{Name: c.Name, Status: string(c.Status), Message: c.Message})
	}
	return all
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// failed is the condition that the observation's problem breaks.
func failed(p *Problem) metav1.Condition {
	status := metav1.ConditionFalse
	if slices.Contains([]string{ReasonNotTried, ReasonSecretNotRead, ReasonNotRecorded, storage.ReasonCancelled, storage.ReasonThrottled}, p.Reason) {
		// It could not be tried, which says nothing about the place.
		status = metav1.ConditionUnknown
	}
	return condition(p.Condition, status, p.Reason, p.Message)
}

func credentials(seen Observation) metav1.Condition {
	if p := seen.Problem; p != nil && p.Condition == v1alpha1.ConditionCredentialsResolved {
		return failed(p)
	}
	message := map[string]string{
		ReasonResolved:  "every reference has a value",
		ReasonNotNeeded: "a folder needs none",
		ReasonAmbient:   "the manager's own are used, as it was started to allow",
	}[seen.Credentials]
	return condition(v1alpha1.ConditionCredentialsResolved, metav1.ConditionTrue, seen.Credentials, message)
}

func reachable(seen Observation, previous v1alpha1.StorageBackendStatus) metav1.Condition {
	if p := seen.Problem; p != nil && p.Condition == v1alpha1.ConditionReachable {
		return failed(p)
	}
	if stands := meta.FindStatusCondition(previous.Conditions, v1alpha1.ConditionReachable); seen.Stands != nil && stands != nil {
		return *stands
	}
	return condition(v1alpha1.ConditionReachable, metav1.ConditionTrue, ReasonReached, "the place answers")
}

func writable(seen Observation, previous v1alpha1.StorageBackendStatus) metav1.Condition {
	if p := seen.Problem; p != nil && p.Condition == v1alpha1.ConditionWritable {
		return failed(p)
	}
	switch {
	case seen.ReadOnly:
		return condition(v1alpha1.ConditionWritable, metav1.ConditionFalse, ReasonReadOnly, "read-only by declaration; no write was tried")
	case seen.Suspended || seen.Stands != nil:
		if stands := meta.FindStatusCondition(previous.Conditions, v1alpha1.ConditionWritable); stands != nil && stands.Reason != ReasonReadOnly {
			return *stands
		}
		if p := seen.Stands; p != nil {
			return condition(v1alpha1.ConditionWritable, metav1.ConditionUnknown, p.Reason, p.Message)
		}
		return condition(v1alpha1.ConditionWritable, metav1.ConditionUnknown, ReasonSuspended, "probes are suspended and none was made before")
	default:
		return condition(v1alpha1.ConditionWritable, metav1.ConditionTrue, ReasonProbed, "an object was put, read back and deleted")
	}
}
