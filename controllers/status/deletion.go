package status

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// DeletionWaits says how many live locations hold a backend, how to keep them,
// and what becomes of the annotation that gives them up.
func DeletionWaits(sb *v1alpha1.StorageBackend, live int64) string {
	place := "spec.local.path"
	if sb.Spec.S3 != nil {
		place = "bucket and keyPrefix of spec.s3"
	}
	waits := fmt.Sprintf("deletion waits: the log names %d live locations here, and no new bytes are stored here; "+
		"to keep them, declare another StorageBackend with the same %s, and this one goes; ", live, place)
	switch value, set := sb.Annotations[v1alpha1.AbandonAnnotation]; {
	case set:
		return waits + fmt.Sprintf("the annotation %s is %.64q; to abandon them it must be this backend's id %q", v1alpha1.AbandonAnnotation, value, sb.Status.ID)
	default:
		return waits + fmt.Sprintf("to abandon them, set the annotation %s to %q", v1alpha1.AbandonAnnotation, sb.Status.ID)
	}
}

// Unread says why the locations of a backend cannot be read either, where that
// is so; "" if they can.
func Unread(opened Opened) string {
	if opened.Store != nil || opened.Problem == nil {
		return ""
	}
	return fmt.Sprintf("; until then they cannot be read (%s: %s)", opened.Problem.Reason, opened.Problem.Message)
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
