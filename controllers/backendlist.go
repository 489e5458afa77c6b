package controllers

import (
	"context"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// backendList lists the backends of a namespace anew only after one was
// declared, edited or deleted: each look at one asks where the others are, and
// a list of many costs as much as a request. Statuses in it may be old.
type backendList struct {
	changes atomic.Int64

	mu    sync.Mutex
	at    int64 // changes before the list was made
	items []v1alpha1.StorageBackend
}

// changed takes note of changes before the request for the object is queued, as
// a predicate of the controller whose requests then list. It passes everything.
func (d *backendList) changed() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { d.changes.Add(1); return true },
		DeleteFunc: func(event.DeleteEvent) bool { d.changes.Add(1); return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() {
				d.changes.Add(1)
			}
			return true
		},
	}
}

// list returns them; they are not to be changed.
func (d *backendList) list(ctx context.Context, c client.Reader, namespace string) ([]v1alpha1.StorageBackend, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// What changes while it is listed has it listed again.
	changes := d.changes.Load()
	if d.items != nil && d.at == changes {
		return d.items, nil
	}
	var all v1alpha1.StorageBackendList // the cache's own, not to be changed
	if err := c.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	d.at, d.items = changes, all.Items
	return d.items, nil
}
