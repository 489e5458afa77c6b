package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// +kubebuilder:rbac:groups=artifactstore.dev,namespace=artifact-store,resources=routingpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=artifactstore.dev,namespace=artifact-store,resources=routingpolicies/status,verbs=get;patch

// RoutingPolicyReconciler writes the status of each RoutingPolicy. It decides
// nothing about routing: the table does, from the same rules. It runs on the leader only.
type RoutingPolicyReconciler struct {
	Client client.Client
}

// Reconcile writes one policy's status.
func (r *RoutingPolicyReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var policies v1alpha1.RoutingPolicyList
	var declared v1alpha1.StorageBackendList
	if err := r.Client.List(ctx, &policies, client.InNamespace(req.Namespace)); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Client.List(ctx, &declared, client.InNamespace(req.Namespace)); err != nil {
		return ctrl.Result{}, err
	}
	for i := range policies.Items {
		p := &policies.Items[i]
		if p.Name != req.Name {
			continue
		}
		before := p.DeepCopy()
		p.Status = policyStatus(before, policies.Items, declared.Items, time.Now())
		if equality.Semantic.DeepEqual(before.Status, p.Status) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, client.IgnoreNotFound(r.Client.Status().Patch(ctx, p, client.MergeFrom(before)))
	}
	return ctrl.Result{}, nil
}

// SetupWithManager adds the controller. A change of any policy or backend may change the status of every policy.
func (r *RoutingPolicyReconciler) SetupWithManager(mgr ctrl.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(r.allPolicies)
	return ctrl.NewControllerManagedBy(mgr).
		Named("routingpolicy").
		Watches(&v1alpha1.RoutingPolicy{}, all).
		Watches(&v1alpha1.StorageBackend{}, all).
		WithOptions(controller.Options{SkipNameValidation: new(true)}).
		Complete(r)
}

func (r *RoutingPolicyReconciler) allPolicies(ctx context.Context, changed client.Object) []ctrl.Request {
	var policies v1alpha1.RoutingPolicyList
	if err := r.Client.List(ctx, &policies, client.InNamespace(changed.GetNamespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the policies after a change")
		return nil
	}
	requests := make([]ctrl.Request, 0, len(policies.Items))
	for i := range policies.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&policies.Items[i])})
	}
	return requests
}
