package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// Cluster drives the routing table from the objects of one namespace, and
// writes their statuses. Table and Observer outlive it: while the API server is
// away they do not change.
type Cluster struct {
	Config    *rest.Config
	Namespace string
	// LeaderElection lets only one of several replicas write statuses.
	LeaderElection bool
	// Settings are the Observer's; Pods are those that verify.
	Settings  declared.Settings
	Pods      cronjobs.PodSettings
	Observer  *observe.Observer
	Registrar registrar.Registrar
	Table     *routing.Table
	Logger    *slog.Logger
}

// leaseName is the Lease that the replicas contend for.
const leaseName = "artifact-store-manager"

// restarts of controllers that ended.
var restarts = backoff.Policy{First: time.Second, Most: 30 * time.Second, Jitter: 0.1}

// Run keeps controllers running until ctx ends: when they end by themselves (the
// lease is lost, the API server is gone), they are started again.
func (c *Cluster) Run(ctx context.Context) {
	for ended := 1; ctx.Err() == nil; ended++ {
		started := time.Now()
		err := c.runOnce(ctx)
		c.Observer.StandDown()
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > 2*restarts.Most {
			ended = 1
		}
		wait := restarts.Delay(ended, rand.Float64()) //nolint:gosec // spreads load
		c.Logger.Warn("the controllers ended and restart; the last routing table stays in use", "error", err, "in", wait.String())
		backoff.Sleep(ctx, wait)
	}
}

func (c *Cluster) runOnce(ctx context.Context) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	config := rest.CopyConfig(c.Config)
	if config.QPS == 0 {
		// The API server's own priorities bound what we ask for; a client's 5
		// requests a second would take minutes for the first statuses of many backends.
		config.QPS = -1
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Logger: logr.FromSlogHandler(c.Logger.Handler()),
		// Nothing is read outside the namespace: a Role is all that is needed.
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{c.Namespace: {}}},
		LeaderElection:                c.LeaderElection,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       c.Namespace,
		LeaderElectionReleaseOnCancel: true,
		// The registry's own server has metrics and health.
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	for _, controller := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&StorageBackendReconciler{Client: mgr.GetClient(), Namespace: c.Namespace, Settings: c.Settings, Observer: c.Observer, Registrar: c.Registrar, Events: mgr.GetEventRecorder("artifact-store"), Logger: c.Logger,
			CronJobs: &cronjobs.Keeper{Client: mgr.GetClient(), Settings: c.Settings, Pods: c.Pods}},
		&RoutingPolicyReconciler{Client: mgr.GetClient(), Logger: c.Logger},
		&TableReconciler{Client: mgr.GetClient(), Observer: c.Observer, Table: c.Table, Namespace: c.Namespace},
	} {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up the controllers: %w", err)
		}
	}
	return mgr.Start(ctx)
}
