package status

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// DeletionWaits says how many live locations hold a backend, and what becomes
// of the annotation that gives them up.
func DeletionWaits(sb *v1alpha1.StorageBackend, live int64) string {
	waits := fmt.Sprintf("deletion waits: the log names %d live locations here; ", live)
	switch value, set := sb.Annotations[v1alpha1.AbandonAnnotation]; {
	case set:
		return waits + fmt.Sprintf("the annotation %s is %.64q; to abandon them it must be this backend's id %q", v1alpha1.AbandonAnnotation, value, sb.Status.ID)
	default:
		return waits + fmt.Sprintf("to abandon them, set the annotation %s to %q", v1alpha1.AbandonAnnotation, sb.Status.ID)
	}
}

// DeletionBlocked is the status of a backend whose deletion waits; waits says why.
func DeletionBlocked(sb *v1alpha1.StorageBackend, waits string, scheduled *Scheduled, now time.Time) v1alpha1.StorageBackendStatus {
	next := sb.Status.DeepCopy()
	blocked := condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonDeletionBlocked, waits)
	blocked.ObservedGeneration = sb.Generation
	meta.SetStatusCondition(&next.Conditions, blocked)
	next.ObservedGeneration = sb.Generation
	scheduledCondition(Observation{Generation: sb.Generation, At: now}, scheduled, next)
	return *next
}
