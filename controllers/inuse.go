package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
)

const (
	// firstUseTick is how often the log is asked whether a backend that held
	// nothing holds something now.
	firstUseTick = time.Second
	// firstUseAgain is the wait before a backend is looked at again for that reason.
	firstUseAgain = 15 * time.Second
)

// hold has the finalizer while the backend is in use, and only then: an object
// that holds nothing, and its namespace, can be deleted without a manager.
func (r *StorageBackendReconciler) hold(ctx context.Context, sb *v1alpha1.StorageBackend) (conflict bool, err error) {
	after := sb.DeepCopy() // the patch answers into what it is given
	change := controllerutil.RemoveFinalizer
	if sb.Status.InUse {
		change = controllerutil.AddFinalizer
	}
	if !change(after, v1alpha1.Finalizer) {
		return false, nil
	}
	err = r.Client.Patch(ctx, after, client.MergeFromWithOptions(sb, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return true, nil // the cache is behind: of our own patch, most of the time
	}
	return false, client.IgnoreNotFound(err)
}

// gone has the log let go of a backend whose object went at once, since nothing
// held it. An upload that was placed there is then refused at its end.
func (r *StorageBackendReconciler) gone(ctx context.Context, name types.NamespacedName) error {
	known, found := r.leaving.Load(name.Name)
	if !found {
		return nil // released before it went, or another replica's
	}
	leaving := known.(registrar.Leaving)
	was := &v1alpha1.StorageBackend{}
	was.Name, was.Namespace, was.Status.ID = name.Name, name.Namespace, leaving.ID
	var peers v1alpha1.StorageBackendList
	if err := r.Client.List(ctx, &peers, client.InNamespace(name.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	if !elsewhereDeclared(was, peers.Items) {
		released, err := r.Registrar.ReleaseBackend(ctx, leaving)
		if err != nil {
			return err
		}
		if released.Held {
			r.Logger.Warn("a StorageBackend is gone, and the log names live locations in it: declare the same place again to have them read",
				"backend", name.Name, "id", leaving.ID, "place", leaving.Place, "locations", released.Live)
		}
	}
	r.leaving.Delete(name.Name)
	return nil
}

// firstUses wakes the backends in which the log begins to name live locations:
// their next look may be an hour away, and until then nothing holds their objects.
func (r *StorageBackendReconciler) firstUses() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		go func() {
			woken := map[string]time.Time{}
			for wait := firstUseTick; backoff.Sleep(ctx, wait); {
				began := time.Now()
				for _, name := range r.newlyUsed(ctx) {
					if began.Sub(woken[name]) >= firstUseAgain {
						woken[name] = began
						queue.Add(ctrl.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: name}})
					}
				}
				// A log that is slow to answer is asked less often.
				wait = firstUseTick + 20*time.Since(began)
			}
		}()
		return nil
	})
}

// newlyUsed names the backends that are in use, and whose objects do not say so.
func (r *StorageBackendReconciler) newlyUsed(ctx context.Context) (names []string) {
	var declared v1alpha1.StorageBackendList // the cache's own, not to be changed
	if err := r.Client.List(ctx, &declared, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	named := map[string][]string{}
	var ids []string
	for i := range declared.Items {
		sb := &declared.Items[i]
		if sb.Status.ID != "" && sb.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(sb, v1alpha1.Finalizer) {
			ids, named[sb.Status.ID] = append(ids, sb.Status.ID), append(named[sb.Status.ID], sb.Name)
		}
	}
	used, err := r.Registrar.InUse(ctx, ids)
	if err != nil {
		return nil // the looks tell of it
	}
	for _, id := range used {
		names = append(names, named[id]...)
	}
	return names
}
