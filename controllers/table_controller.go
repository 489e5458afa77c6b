package controllers

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// TableReconciler opens the drivers of this process and swaps its routing
// table whenever a backend (its status too), a policy or a Secret changes. It
// runs on every replica and writes nothing to the API server.
type TableReconciler struct {
	Client    client.Client
	Observer  *Observer
	Table     *routing.Table
	Namespace string

	// swapping orders reading the caches and swapping, so that an older view never replaces a newer one.
	swapping sync.Mutex
}

// whole is the request that names no backend: something else changed.
const whole = ""

// Reconcile opens the backend that the request names, if it names one, and swaps the table.
func (r *TableReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var result ctrl.Result
	if req.Name != whole {
		var sb v1alpha1.StorageBackend
		err := r.Client.Get(ctx, req.NamespacedName, &sb)
		switch {
		case apierrors.IsNotFound(err):
			r.Observer.Forget(req.Name)
		case err != nil:
			return ctrl.Result{}, err
		default:
			var declared v1alpha1.StorageBackendList
			if err := r.Client.List(ctx, &declared, client.InNamespace(r.Namespace)); err != nil {
				return ctrl.Result{}, err
			}
			opened := r.Observer.Open(ctx, &sb, declared.Items, secretLookup(ctx, r.Client, sb.Namespace))
			if opened.Problem != nil {
				result.RequeueAfter = jitter(retryUnwell)
			}
		}
	}
	return result, r.swap(ctx)
}

func (r *TableReconciler) swap(ctx context.Context) error {
	r.swapping.Lock()
	defer r.swapping.Unlock()
	var declared v1alpha1.StorageBackendList
	var policies v1alpha1.RoutingPolicyList
	if err := r.Client.List(ctx, &declared, client.InNamespace(r.Namespace)); err != nil {
		return err
	}
	if err := r.Client.List(ctx, &policies, client.InNamespace(r.Namespace)); err != nil {
		return err
	}
	opened := r.Observer.Opened()
	if r.Table.Loaded() || allTried(declared.Items, opened) {
		r.Table.Swap(snapshot(declared.Items, policies.Items, opened))
	}
	return nil
}

// SetupWithManager adds the controller.
func (r *TableReconciler) SetupWithManager(mgr ctrl.Manager) error {
	something := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, changed client.Object) []ctrl.Request {
		return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: changed.GetNamespace(), Name: whole}}}
	})
	// Where nothing is declared no event ever comes; the empty table is the truth then.
	once := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		queue.Add(ctrl.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: whole}})
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("table").
		Watches(&v1alpha1.StorageBackend{}, &handler.EnqueueRequestForObject{}).
		Watches(&v1alpha1.RoutingPolicy{}, something).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(backendsOfSecret(mgr.GetClient())), builder.WithPredicates(secretChanged())).
		WatchesRawSource(once).
		WithOptions(controller.Options{NeedLeaderElection: new(false), MaxConcurrentReconciles: parallelBackends, SkipNameValidation: new(true)}).
		Complete(r)
}
