package status

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// After is Backend, but of a look that was not made only what became of the schedule.
func After(seen Observation, scheduled *Scheduled, previous v1alpha1.StorageBackendStatus) v1alpha1.StorageBackendStatus {
	if seen.looked() {
		return Backend(seen, scheduled, previous)
	}
	next := previous.DeepCopy()
	scheduledCondition(seen, scheduled, next)
	return *next
}

// Backend turns an observation into a status. previous gives the times of
// transition and, while probes are suspended or lost, the state that stands.
func Backend(seen Observation, scheduled *Scheduled, previous v1alpha1.StorageBackendStatus) v1alpha1.StorageBackendStatus {
	next := v1alpha1.StorageBackendStatus{
		ObservedGeneration: seen.Generation, ID: seen.ID, Driver: seen.Driver, Place: seen.Place,
		InUse: inUse(seen, previous.InUse), LastVerified: previous.LastVerified, LastHandledRequest: previous.LastHandledRequest,
		LastGoodServes: seen.Problem != nil && seen.LastGood == LastGoodServes, Conditions: append([]metav1.Condition(nil), previous.Conditions...),
	}
	if next.ID == "" {
		// A place that cannot be reached keeps the id by which the log knows it.
		next.ID = previous.ID
	}
	if seen.Request != "" && !seen.Pending && seen.Away == nil { // else the look that it asks for is still to come
		next.LastHandledRequest = seen.Request
	}
	next.Capabilities = RecordedCapabilities(seen.Capabilities)
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
	verified := verifiedCondition(seen, scheduled)
	ready := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, "it accepts and serves bytes")
	switch {
	case broken >= 0:
		ready = condition(v1alpha1.ConditionReady, stages[broken].Status, stages[broken].Reason, stages[broken].Message+GoesOn(seen.Problem, seen.LastGood))
	case verified.Status == metav1.ConditionFalse:
		ready.Reason, ready.Message = ReasonFailedLocations, "it accepts and serves bytes, but "+verified.Message
	case seen.ReadOnly:
		ready.Reason, ready.Message = ReasonReadOnly, "it serves bytes but accepts none, as declared"
	}
	for _, c := range append(stages, verified, ready) {
		c.ObservedGeneration = seen.Generation
		if old := meta.FindStatusCondition(next.Conditions, c.Type); old == nil || old.Status != c.Status {
			c.LastTransitionTime = metav1.Time{Time: seen.At}
		}
		meta.SetStatusCondition(&next.Conditions, c)
	}
	scheduledCondition(seen, scheduled, &next)
	logCurrent(seen, &next)
	return next
}

// inUse is whether the log names live locations in a backend. A yes counts at
// once, a no only where the log is the right one and the place answers as ours:
// another log knows nothing of what this place holds.
func inUse(seen Observation, previous bool) bool {
	switch {
	case seen.Findings == nil:
		return previous
	case seen.Findings.Live > 0:
		return true
	case seen.Problem != nil || seen.Stands != nil || seen.Head != nil && seen.Head.Older != "":
		return previous
	}
	return false
}

// logCurrent has a condition as long as the log is older than the place, or
// that cannot be found out; the backend is Ready all the same, since only removals wait.
func logCurrent(seen Observation, next *v1alpha1.StorageBackendStatus) {
	var c metav1.Condition
	switch {
	case seen.Head == nil:
		return
	case seen.Head.Older != "":
		c = condition(v1alpha1.ConditionLogCurrent, metav1.ConditionFalse, ReasonOlderLog, seen.Head.Older)
	case seen.Head.Unknown != nil:
		c = condition(v1alpha1.ConditionLogCurrent, metav1.ConditionUnknown, seen.Head.Unknown.Reason, seen.Head.Unknown.Message)
	default:
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionLogCurrent)
		return
	}
	c.ObservedGeneration, c.LastTransitionTime = seen.Generation, metav1.Time{Time: seen.At}
	meta.SetStatusCondition(&next.Conditions, c)
}

func RecordedCapabilities(found []storage.Capability) []v1alpha1.Capability {
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
func failed(p *declared.Problem) metav1.Condition {
	status := metav1.ConditionFalse
	if slices.Contains([]string{ReasonNotTried, declared.ReasonSecretNotRead, ReasonNotRecorded, storage.ReasonCancelled, storage.ReasonThrottled}, p.Reason) {
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
		ReasonNotNeeded: "a folder needs no credentials",
		ReasonAmbient:   "the manager's own credentials are used, as --allow-ambient-credentials permits",
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
		return condition(v1alpha1.ConditionWritable, metav1.ConditionFalse, ReasonReadOnly, "read-only as declared; no write was tried")
	case seen.Suspended || seen.Stands != nil:
		if stands := meta.FindStatusCondition(previous.Conditions, v1alpha1.ConditionWritable); stands != nil && stands.Reason != ReasonReadOnly {
			return *stands
		}
		if p := seen.Stands; p != nil {
			return condition(v1alpha1.ConditionWritable, metav1.ConditionUnknown, p.Reason, p.Message)
		}
		return condition(v1alpha1.ConditionWritable, metav1.ConditionUnknown, ReasonSuspended, "probes are suspended, and the place was never probed")
	case slices.ContainsFunc(seen.Capabilities, func(c storage.Capability) bool {
		return c.Name == "delete" && c.Status == storage.Unsupported
	}):
		return condition(v1alpha1.ConditionWritable, metav1.ConditionTrue, ReasonProbed, "an object was put and read back; nothing can be deleted here (see status.capabilities), so the place is probed by reading, and written to once a day")
	default:
		return condition(v1alpha1.ConditionWritable, metav1.ConditionTrue, ReasonProbed, "an object was put, read back and deleted")
	}
}
