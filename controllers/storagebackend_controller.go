package controllers

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
)

// parallelBackends is how many backends are probed at once. Most of that is
// waiting; several endpoints that hang, each with endpointLooks, hold up no other.
const parallelBackends = 32

// ReasonAbandoned is that of the Event of locations that were given up.
const ReasonAbandoned = "LocationsAbandoned"

// conflictPause is the wait for a cache that is behind.
const conflictPause = 250 * time.Millisecond

// releasePause is the wait before the log is asked again whether a backend may go.
var releasePause = backoff.Policy{First: 15 * time.Second, Jitter: 0.1}

// +kubebuilder:rbac:groups=artifactstore.dev,namespace=artifact-store,resources=storagebackends,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=artifactstore.dev,namespace=artifact-store,resources=storagebackends/status,verbs=get;patch
// +kubebuilder:rbac:groups="",namespace=artifact-store,resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=artifact-store,resources=leases,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups="";events.k8s.io,namespace=artifact-store,resources=events,verbs=create;patch

// StorageBackendReconciler probes each StorageBackend at its interval and
// writes what it finds into the status. It runs on the leader only.
type StorageBackendReconciler struct {
	Client    client.Client
	Namespace string
	Settings  declared.Settings
	Observer  *observe.Observer
	// Registrar lets go of a backend that is being deleted.
	Registrar registrar.Registrar
	// CronJobs follows spec.verification.
	CronJobs *cronjobs.Keeper
	// Events tells of conditions that turned.
	Events recorder.EventRecorder
	Logger *slog.Logger

	declared backendList
	leaving  sync.Map // registrar.Leaving by name, of what was seen last
}

// Reconcile looks at one backend.
func (r *StorageBackendReconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
	var sb v1alpha1.StorageBackend
	if err := r.Client.Get(ctx, req.NamespacedName, &sb); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, r.gone(ctx, req.NamespacedName)
		}
		return ctrl.Result{}, err
	}
	before := sb.DeepCopy()
	defer func() {
		if ctx.Err() == nil && !equality.Semantic.DeepEqual(before.Status, sb.Status) {
			// The patch answers into what it is given.
			failed := r.Client.Status().Patch(ctx, &sb, client.MergeFrom(before))
			if failed == nil {
				logTurned(r.Logger, before, &sb)
				r.tell(before, &sb)
			}
			err = errors.Join(err, client.IgnoreNotFound(failed))
		}
	}()
	if !sb.DeletionTimestamp.IsZero() {
		return r.finish(ctx, &sb)
	}
	peers, err := r.declared.list(ctx, r.Client, sb.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	// What an earlier version put there stays until it is known that nothing is held.
	sb.Status.InUse = sb.Status.InUse || controllerutil.ContainsFinalizer(&sb, v1alpha1.Finalizer)
	scheduled := r.CronJobs.Ensure(ctx, &sb)
	seen := r.Observer.Observe(ctx, &sb, peers, observe.SecretLookup(ctx, r.Client, sb.Namespace))
	r.Observer.CountOverdue(sb.Name, seen.Findings, status.Overdue(seen, scheduled))
	sb.Status = status.After(seen, scheduled, sb.Status)
	r.leaving.Store(sb.Name, registrar.Leaving{Name: sb.Name, ID: sb.Status.ID, Place: declared.Place(&sb, r.Settings)})
	next := observe.NextLook(&sb, seen)
	conflict, err := r.hold(ctx, &sb)
	if conflict {
		next = conflictPause
	}
	return ctrl.Result{RequeueAfter: next}, err
}

// tell makes an Event of Ready and of those that stand apart where they turned.
func (r *StorageBackendReconciler) tell(before, after *v1alpha1.StorageBackend) {
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionVerified, v1alpha1.ConditionVerificationScheduled} {
		was, is := meta.FindStatusCondition(before.Status.Conditions, kind), meta.FindStatusCondition(after.Status.Conditions, kind)
		if is == nil || (was != nil && was.Status == is.Status && was.Reason == is.Reason) || (was == nil && is.Status == metav1.ConditionUnknown) {
			continue
		}
		severity := corev1.EventTypeNormal
		if is.Status == metav1.ConditionFalse {
			severity = corev1.EventTypeWarning
		}
		r.Events.Eventf(after, nil, severity, is.Reason, "Probe", "%s is %s: %s", kind, is.Status, is.Message)
	}
	if is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady); before.Status.LastGoodServes && !after.Status.LastGoodServes && is != nil && is.Status != metav1.ConditionTrue {
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, status.ReasonLastGoodFailed, "Probe", "it no longer accepts bytes: %s", is.Message)
	}
}

// finish lets a backend go once the log names no live location in it, or an
// administrator has given up on those. It needs the log and not the place.
func (r *StorageBackendReconciler) finish(ctx context.Context, sb *v1alpha1.StorageBackend) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(sb, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	var declared v1alpha1.StorageBackendList // with statuses as they are, unlike those of r.declared
	if err := r.Client.List(ctx, &declared, client.InNamespace(sb.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	if !elsewhereDeclared(sb, declared.Items) {
		waits, err := r.release(ctx, sb)
		if waits != "" {
			waits += status.Unread(r.Observer.Opened()[sb.Name])
			sb.Status = status.DeletionBlocked(sb, waits, r.CronJobs.Ensure(ctx, sb), time.Now())
			return ctrl.Result{RequeueAfter: releasePause.Delay(1, rand.Float64())}, err //nolint:gosec // spreads load
		}
	}
	before := sb.DeepCopy()
	controllerutil.RemoveFinalizer(sb, v1alpha1.Finalizer)
	return ctrl.Result{}, client.IgnoreNotFound(r.Client.Patch(ctx, sb, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

// elsewhereDeclared reports whether another object declares the same backend and stays: then
// this one is a name that it loses, and nothing else.
func elsewhereDeclared(sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend) bool {
	return sb.Status.ID != "" && slices.ContainsFunc(declared, func(other v1alpha1.StorageBackend) bool {
		return other.UID != sb.UID && other.Status.ID == sb.Status.ID && other.DeletionTimestamp.IsZero()
	})
}

// release has the log let go of a backend, or says why the deletion waits.
func (r *StorageBackendReconciler) release(ctx context.Context, sb *v1alpha1.StorageBackend) (waits string, err error) {
	released, err := r.Registrar.ReleaseBackend(ctx, registrar.Leaving{
		Name: sb.Name, ID: sb.Status.ID, Place: declared.Place(sb, r.Settings), Abandon: sb.Annotations[v1alpha1.AbandonAnnotation],
	})
	if err != nil {
		return "deletion waits: the log cannot be read now, so it is unknown whether it names live locations here", err
	}
	sb.Status.ID = released.ID // of a status that was lost
	if released.Held {
		return status.DeletionWaits(sb, released.Live), nil
	}
	if released.Live > 0 {
		r.Events.Eventf(sb, nil, corev1.EventTypeWarning, ReasonAbandoned, "Delete", "%d live locations were abandoned, as the annotation %s requests", released.Live, v1alpha1.AbandonAnnotation)
	}
	return "", nil
}

// SetupWithManager adds the controller.
func (r *StorageBackendReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("storagebackend").
		For(&v1alpha1.StorageBackend{}, builder.WithPredicates(r.declared.changed(), declarationChanged())).
		Owns(&batchv1.CronJob{}, builder.WithPredicates(cronjobs.Changed())).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(backendsOfSecret(mgr.GetClient())), builder.WithPredicates(secretChanged())).
		WatchesRawSource(wokenBy(r.Observer, r.Namespace)).
		WatchesRawSource(r.firstUses()).
		WithOptions(controller.Options{MaxConcurrentReconciles: parallelBackends, SkipNameValidation: new(true), ReconciliationTimeout: observe.LookTime}).
		Complete(r)
}

// declarationChanged passes what a person changed and means us: not our own
// writes of status, which would probe in a circle, and no annotations of others.
func declarationChanged() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			old, now := e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()
			return old[v1alpha1.RequestAnnotation] != now[v1alpha1.RequestAnnotation] || old[v1alpha1.AbandonAnnotation] != now[v1alpha1.AbandonAnnotation] ||
				e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
		},
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
}

// secretChanged drops the resyncs of Secrets that hold the same values.
func secretChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, isOld := e.ObjectOld.(*corev1.Secret)
		now, isNow := e.ObjectNew.(*corev1.Secret)
		return !isOld || !isNow || !equality.Semantic.DeepEqual(old.Data, now.Data)
	}}
}

// backendsOfSecret maps a Secret to the backends of its namespace that refer to it.
func backendsOfSecret(c client.Reader) handler.MapFunc {
	return func(ctx context.Context, secret client.Object) []ctrl.Request {
		var peers v1alpha1.StorageBackendList
		if err := c.List(ctx, &peers, client.InNamespace(secret.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list the backends of a changed Secret", "secret", secret.GetName())
			return nil
		}
		var requests []ctrl.Request
		for i := range peers.Items {
			for _, name := range declared.SecretNames(&peers.Items[i]) {
				if name == secret.GetName() {
					requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&peers.Items[i])})
				}
			}
		}
		return requests
	}
}
