package cronjobs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
)

// +kubebuilder:rbac:groups=batch,namespace=artifact-store,resources=cronjobs,verbs=get;list;watch;create;update;delete

// Keeper keeps the CronJob of each StorageBackend as spec.verification has it.
type Keeper struct {
	Client   client.Client
	Settings declared.Settings
	Pods     PodSettings
}

// Ensure makes, changes or removes sb's CronJob, and says what became of it. A
// CronJob is the backend's if that controls it, by its UID: one that was made
// before a crash is found again, one that is somebody else's is left alone.
// Nothing is written where nothing is to change.
func (c *Keeper) Ensure(ctx context.Context, sb *v1alpha1.StorageBackend) *status.Scheduled {
	wanted, wrong := cronJobFor(sb, c.Settings, c.Pods)
	if wrong != nil {
		// An earlier one, if any, continues unchanged, unless runs are suspended.
		if declared.Suspended(sb) != "" {
			c.hold(ctx, sb)
		}
		return &status.Scheduled{Problem: wrong}
	}
	var there batchv1.CronJob
	err := c.Client.Get(ctx, types.NamespacedName{Namespace: sb.Namespace, Name: cronJobName(sb.Name)}, &there)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return c.refused(ctx, err)
	}
	ours := !missing && metav1.IsControlledBy(&there, sb)
	switch {
	case wanted == nil:
		if ours && there.DeletionTimestamp.IsZero() {
			err = c.Client.Delete(ctx, &there, client.Preconditions{UID: &there.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
			if client.IgnoreNotFound(err) != nil {
				ctrl.LoggerFrom(ctx).Error(err, "remove the CronJob of a verification that is no longer declared", "cronJob", there.Name)
			}
		}
		return nil
	case missing && !sb.DeletionTimestamp.IsZero():
		return nil
	case missing:
		there = *wanted.DeepCopy()
		err = c.Client.Create(ctx, &there)
	case !ours:
		return &status.Scheduled{Problem: declared.Problemf(v1alpha1.ConditionVerificationScheduled, ReasonCronJobTaken,
			"the CronJob %s exists and does not belong to this backend (%s)", there.Name, controllerOf(&there))}
	case !there.DeletionTimestamp.IsZero():
		return &status.Scheduled{Stands: true} // another is made when it is gone
	case differs(wanted, &there):
		next := there.DeepCopy()
		next.Spec = wanted.Spec
		next.Labels, next.Annotations = merged(there.Labels, wanted.Labels), merged(there.Annotations, wanted.Annotations)
		err = c.Client.Update(ctx, next)
		there = *next
	default:
		err = nil
	}
	if err != nil {
		return c.refused(ctx, err)
	}
	return scheduled(sb, &there)
}

// hold suspends sb's CronJob, if there is one, where the rest of it cannot be said.
func (c *Keeper) hold(ctx context.Context, sb *v1alpha1.StorageBackend) {
	var there batchv1.CronJob
	err := c.Client.Get(ctx, types.NamespacedName{Namespace: sb.Namespace, Name: cronJobName(sb.Name)}, &there)
	if err == nil && metav1.IsControlledBy(&there, sb) && (there.Spec.Suspend == nil || !*there.Spec.Suspend) {
		held := there.DeepCopy()
		held.Spec.Suspend = new(true)
		err = c.Client.Update(ctx, held)
	}
	if client.IgnoreNotFound(err) != nil {
		ctrl.LoggerFrom(ctx).Error(err, "suspend the CronJob of a backend that is suspended", "cronJob", cronJobName(sb.Name))
	}
}

// refused tells what the cache will soon make good from what a person must.
func (c *Keeper) refused(ctx context.Context, err error) *status.Scheduled {
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
		return &status.Scheduled{Stands: true}
	}
	p := declared.Problemf(v1alpha1.ConditionVerificationScheduled, ReasonCronJobRefused, "the API server rejected the CronJob: %s", err)
	p.Lost = !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err)
	return &status.Scheduled{Problem: p}
}

// scheduled says what a CronJob that is as it should be means.
func scheduled(sb *v1alpha1.StorageBackend, c *batchv1.CronJob) *status.Scheduled {
	plan, err := declared.PlanVerification(sb)
	if err != nil {
		return &status.Scheduled{Problem: declared.Problemf(v1alpha1.ConditionVerificationScheduled, declared.ReasonScheduleInvalid, "%s", err)}
	}
	s := &status.Scheduled{
		Suspended: plan.Suspended, Promise: plan.Promise(), Since: c.CreationTimestamp.Time,
		Message: fmt.Sprintf("the CronJob %s starts a run at %q, %s", c.Name, plan.Schedule.Spec, plan.Schedule.Zone),
	}
	last, good := c.Status.LastScheduleTime, c.Status.LastSuccessfulTime
	if last != nil && len(c.Status.Active) == 0 && (good == nil || good.Before(last)) {
		s.LastRun = fmt.Sprintf("the last run of the CronJob %s did not succeed: look at its Jobs", c.Name)
	}
	return s
}

// Changed passes what is to be put right, and the end of a run: what it
// found is in the log.
func Changed() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			old, isOld := e.ObjectOld.(*batchv1.CronJob)
			now, isNow := e.ObjectNew.(*batchv1.CronJob)
			return isOld && isNow && (len(now.Status.Active) < len(old.Status.Active) || !now.Status.LastSuccessfulTime.Equal(old.Status.LastSuccessfulTime))
		},
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
}

func controllerOf(o metav1.Object) string {
	if ref := metav1.GetControllerOf(o); ref != nil {
		return fmt.Sprintf("its controller is %s %s, %s", ref.Kind, ref.Name, ref.UID)
	}
	return "it has no controller"
}

func merged(into, from map[string]string) map[string]string {
	all := maps.Clone(into)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, from)
	return all
}

// differs compares what is ours: what we set must stand there, whatever the
// API server and others have added; and it must have been made of the same, for
// a field that is no longer set looks like one that was added.
func differs(wanted, there *batchv1.CronJob) bool {
	if there.Annotations[appliedAnnotation] != wanted.Annotations[appliedAnnotation] {
		return true
	}
	want, errWant := generic(wanted)
	have, errHave := generic(there)
	if errWant != nil || errHave != nil {
		return true
	}
	return !within(want["spec"], have["spec"]) || !within(want["metadata"].(map[string]any)["labels"], have["metadata"].(map[string]any)["labels"])
}

func generic(o any) (map[string]any, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var value map[string]any
	return value, json.Unmarshal(text, &value)
}

// within reports whether every field of want stands in have; lists are compared item by item.
func within(want, have any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, _ := have.(map[string]any)
		for name, value := range want {
			if value != nil && !within(value, have[name]) {
				return false
			}
		}
		return true
	case []any:
		have, _ := have.([]any)
		if len(want) != len(have) {
			return false
		}
		for i := range want {
			if !within(want[i], have[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, have)
}
