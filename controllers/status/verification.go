package status

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
)

// verifiedCondition says what verification found. It is independent of the
// stages: findings are in the log, and hold while the place is away.
func verifiedCondition(seen Observation, scheduled *Scheduled) metav1.Condition {
	const kind = v1alpha1.ConditionVerified
	f := seen.Findings
	switch {
	case f == nil:
		return condition(kind, metav1.ConditionUnknown, ReasonNotFindable, "the findings of verification cannot be read now")
	case f.Failed > 0:
		reason := ReasonCorrupt
		if f.Corrupt == 0 {
			reason = ReasonMissing
		}
		return condition(kind, metav1.ConditionFalse, reason, fmt.Sprintf("%d locations failed: %d corrupt, %d missing", f.Failed, f.Corrupt, f.Missing))
	case f.Live == 0:
		return condition(kind, metav1.ConditionUnknown, ReasonNothingStored, "nothing is stored that could be verified")
	case f.Unreadable > 0:
		message := fmt.Sprintf("%d locations could not be read when they were last verified, so nothing is known about their bytes", f.Unreadable)
		if Overdue(seen, scheduled) {
			message += fmt.Sprintf("; something has not been verified for longer than %s", rounded(scheduled.Promise))
		}
		return condition(kind, metav1.ConditionUnknown, ReasonUnreadable, message)
	case Overdue(seen, scheduled):
		return condition(kind, metav1.ConditionUnknown, ReasonVerificationOverdue,
			fmt.Sprintf("something has not been verified for longer than %s, within which spec.verification reads everything", rounded(scheduled.Promise)))
	case f.LastVerified.IsZero():
		return condition(kind, metav1.ConditionUnknown, ReasonNeverVerified, "nothing has been verified yet")
	case f.OldestVerified.IsZero():
		return condition(kind, metav1.ConditionTrue, ReasonIntact, "everything verified is intact; some locations have not been verified yet")
	default:
		return condition(kind, metav1.ConditionTrue, ReasonIntact, "every location has been verified and is intact")
	}
}

// Overdue reports whether a location waits longer than the schedule promises.
// A schedule that is suspended, or not followed, promises nothing; a new one
// has the time that it takes.
func Overdue(seen Observation, s *Scheduled) bool {
	f := seen.Findings
	if f == nil || s == nil || s.Promise == 0 || s.Suspended != "" || f.WaitingSince.IsZero() {
		return false
	}
	since := f.WaitingSince
	if since.Before(s.Since) {
		since = s.Since
	}
	return seen.At.Sub(since) > s.Promise
}

// rounded drops the seconds of 0 that time.Duration prints.
func rounded(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.Round(time.Minute).String()
}

// scheduledCondition puts what became of spec.verification into the conditions,
// or removes the condition if there is none.
func scheduledCondition(seen Observation, s *Scheduled, next *v1alpha1.StorageBackendStatus) {
	const kind = v1alpha1.ConditionVerificationScheduled
	switch {
	case s == nil:
		meta.RemoveStatusCondition(&next.Conditions, kind)
		return
	case s.Stands:
		return
	}
	c := condition(kind, metav1.ConditionTrue, ReasonScheduled, s.Message)
	switch found := seen.Findings; {
	case s.Problem != nil:
		c = condition(kind, metav1.ConditionFalse, s.Problem.Reason, s.Problem.Message)
		if s.Problem.Lost {
			c.Status = metav1.ConditionUnknown
		}
	case s.Suspended != "":
		c = condition(kind, metav1.ConditionFalse, ReasonVerificationSuspended, "no run starts: "+s.Suspended)
	case s.LastRun != "" && (found == nil || found.Failed == 0): // a run that finds damage is told by Verified
		c.Reason, c.Message = ReasonLastRunFailed, s.LastRun
	}
	c.ObservedGeneration = seen.Generation
	if old := meta.FindStatusCondition(next.Conditions, kind); old == nil || old.Status != c.Status {
		c.LastTransitionTime = metav1.Time{Time: seen.At}
	}
	meta.SetStatusCondition(&next.Conditions, c)
}

// failedLocations are those of the findings; while these are not known, the
// recorded ones stand.
func failedLocations(f *registrar.Findings, previous v1alpha1.StorageBackendStatus) []v1alpha1.FailedLocation {
	if f == nil {
		return previous.FailedLocations
	}
	var all []v1alpha1.FailedLocation
	for _, failure := range f.Failures {
		all = append(all, v1alpha1.FailedLocation{SHA256: failure.SHA256.String(), Reason: failure.Reason})
	}
	return all
}

// Scheduled is what became of spec.verification; a nil *Scheduled where there is none.
type Scheduled struct {
	// Problem is why it is not followed; nil if it is.
	Problem *declared.Problem
	// Suspended says why no run is begun; "" if they are.
	Suspended string
	// Message says when runs begin and who begins them.
	Message string
	// LastRun is why the last run did not succeed; "" if it did, or is not known.
	LastRun string
	// Promise is how old a verification may be; it counts from Since at the earliest.
	Promise time.Duration
	Since   time.Time
	// Stands: nothing was found out; the recorded condition stands.
	Stands bool
}
