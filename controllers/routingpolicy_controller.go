package controllers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
)

// +kubebuilder:rbac:groups=artifactstore.dev,namespace=artifact-store,resources=routingpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=artifactstore.dev,namespace=artifact-store,resources=routingpolicies/status,verbs=get;patch

const (
	// policyPause is the least time between two looks at the policies, and
	// policyWrite what is added for each status that was written: while many
	// backends turn, as at the start, each turn may touch many policies.
	policyPause = 100 * time.Millisecond
	policyWrite = 50 * time.Millisecond
)

// RoutingPolicyReconciler writes the statuses of all RoutingPolicies of a
// namespace at once. It decides nothing about routing: the table does, from the
// same rules. It runs on the leader only.
type RoutingPolicyReconciler struct {
	Client client.Client
	Logger *slog.Logger

	// For the one worker that there is.
	conflicts status.ConflictCache
	next      time.Time // not before
}

// Reconcile writes the statuses that are to be others.
func (r *RoutingPolicyReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := time.Until(r.next); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	var policies v1alpha1.RoutingPolicyList
	var declared v1alpha1.StorageBackendList
	if err := r.Client.List(ctx, &policies, client.InNamespace(req.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Client.List(ctx, &declared, client.InNamespace(req.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	conflicts, backends := r.conflicts.Of(policies.Items), status.TargetsOf(declared.Items)
	now := time.Now()
	var written time.Duration
	var errs []error
	for i := range policies.Items {
		p := &policies.Items[i] // the cache's own, not to be changed
		status := status.Policy(p, conflicts[p.Name], backends, now)
		if equality.Semantic.DeepEqual(p.Status, status) {
			continue
		}
		after := p.DeepCopy()
		after.Status = status
		failed := r.Client.Status().Patch(ctx, after, client.MergeFrom(p))
		if failed == nil {
			logPolicyTurned(r.Logger, p, after)
		}
		errs = append(errs, client.IgnoreNotFound(failed))
		written++
	}
	r.next = time.Now().Add(policyPause + written*policyWrite)
	return ctrl.Result{}, errors.Join(errs...)
}

// SetupWithManager adds the controller. A change of any policy or backend may
// change the status of every policy, so there is one request for all.
func (r *RoutingPolicyReconciler) SetupWithManager(mgr ctrl.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, changed client.Object) []ctrl.Request {
		return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: changed.GetNamespace(), Name: whole}}}
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("routingpolicy").
		Watches(&v1alpha1.RoutingPolicy{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.StorageBackend{}, all, builder.WithPredicates(targetChanged())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, SkipNameValidation: new(true)}).
		Complete(r)
}

// targetChanged passes what makes a backend take bytes or no longer, and nothing else of its status.
func targetChanged() predicate.Predicate {
	of := func(o client.Object) status.Target {
		sb, ok := o.(*v1alpha1.StorageBackend)
		if !ok {
			return status.Target{}
		}
		return status.TargetsOf([]v1alpha1.StorageBackend{*sb})[sb.Name]
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return of(e.ObjectOld) != of(e.ObjectNew) }}
}
