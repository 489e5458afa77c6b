package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/coulomb/artifact-store/controllers/observe"
)

// wokenBy has a controller look at the backends of a namespace that an
// Observer's listeners are to look at.
func wokenBy(o *observe.Observer, namespace string) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		stop := o.Listen(func(name string, look bool) {
			if look {
				queue.Add(ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
			}
		})
		context.AfterFunc(ctx, stop)
		return nil
	})
}
