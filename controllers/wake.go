package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// source has a controller look at the backends of a namespace that listeners
// are told to look at; looks says whether those are meant, or those of which
// this process has another driver or opinion.
func (o *Observer) source(namespace string, looks bool) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		stop := o.Listen(func(name string, look bool) {
			if look == looks {
				queue.Add(ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
			}
		})
		context.AfterFunc(ctx, stop)
		return nil
	})
}
