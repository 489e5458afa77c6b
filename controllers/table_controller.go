package controllers

import (
	"context"
	"time"

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
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// TableReconciler opens the drivers of this process and swaps its routing
// table whenever a backend (its status too), a policy or a Secret changes. It
// runs on every replica and writes nothing to the API server. It is two
// controllers: drivers are opened by many workers, which may wait for places,
// and the table is swapped by one, which waits for nothing.
type TableReconciler struct {
	Client    client.Client
	Observer  *observe.Observer
	Table     *routing.Table
	Namespace string

	// For the one worker that swaps.
	swapped time.Time
}

// whole is the request that names no object: something changed.
const whole = ""

// swapPause is the least time between two swaps: while many backends turn, as
// at the start, one table shows many of them.
const swapPause = 20 * time.Millisecond

// Reconcile opens the backend that the request names.
func (r *TableReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var sb v1alpha1.StorageBackend
	err := r.Client.Get(ctx, req.NamespacedName, &sb)
	if apierrors.IsNotFound(err) {
		r.Observer.Forget(req.Name)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	var declared v1alpha1.StorageBackendList // the cache's own, not to be changed
	if err := r.Client.List(ctx, &declared, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	again := r.Observer.Open(ctx, &sb, declared.Items, observe.SecretLookup(ctx, r.Client, sb.Namespace))
	return ctrl.Result{RequeueAfter: again}, nil
}

// swap makes a table of what is declared and open now. It runs in one worker,
// so that an older view never replaces a newer one.
func (r *TableReconciler) swap(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	if wait := time.Until(r.swapped.Add(swapPause)); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	defer func() { r.swapped = time.Now() }()
	// What is open is read first: what is declared is then no older than that.
	opened := r.Observer.Opened()
	var declared v1alpha1.StorageBackendList // the cache's own, not to be changed
	var policies v1alpha1.RoutingPolicyList
	if err := r.Client.List(ctx, &declared, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Client.List(ctx, &policies, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, err
	}
	if r.Table.Loaded() || status.AllTried(declared.Items, opened) {
		r.Table.Swap(status.Snapshot(declared.Items, policies.Items, opened))
	}
	return ctrl.Result{}, nil
}

// SetupWithManager adds the controllers.
func (r *TableReconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := ctrl.NewControllerManagedBy(mgr).
		Named("drivers").
		Watches(&v1alpha1.StorageBackend{}, &handler.EnqueueRequestForObject{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(backendsOfSecret(mgr.GetClient())), builder.WithPredicates(secretChanged())).
		WatchesRawSource(wokenBy(r.Observer, r.Namespace)).
		WithOptions(controller.Options{NeedLeaderElection: new(false), MaxConcurrentReconciles: parallelBackends, SkipNameValidation: new(true), ReconciliationTimeout: observe.LookTime}).
		Complete(r); err != nil {
		return err
	}
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: whole}}
	something := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []ctrl.Request { return []ctrl.Request{request} })
	// Where nothing is declared no event ever comes; the empty table is the truth then.
	once := source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		stop := r.Observer.Listen(func(_ string, look bool) {
			if !look {
				queue.Add(request)
			}
		})
		context.AfterFunc(ctx, stop)
		queue.Add(request)
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("table").
		Watches(&v1alpha1.StorageBackend{}, something).
		Watches(&v1alpha1.RoutingPolicy{}, something).
		WatchesRawSource(once).
		WithOptions(controller.Options{NeedLeaderElection: new(false), MaxConcurrentReconciles: 1, SkipNameValidation: new(true)}).
		Complete(reconcileFunc(r.swap))
}

type reconcileFunc func(ctx context.Context, req ctrl.Request) (ctrl.Result, error)

// Reconcile implements reconcile.Reconciler.
func (f reconcileFunc) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return f(ctx, req)
}
