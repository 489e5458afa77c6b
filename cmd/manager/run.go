package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	controllermetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/coulomb/artifact-store/controllers"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/pkg/database"
	httpapi "github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// besidesBuffers is what the Go heap has in addition to the buffers of uploads, in
// bytes. The garbage collector works harder before the heap exceeds both together.
// Beside it SQLite takes up to 40 MiB, and the pages of the program 45: with the
// default buffers (96 MiB) all fit a container of 256 MiB (test/bounds).
const besidesBuffers = 56 << 20

// gcPercent is twice the usual: what is alive is little beside what requests leave
// behind, and the limit above bounds the heap. A push of 4,000 files takes a tenth
// less of the CPU.
const gcPercent = 200

// run serves until ctx ends, then drains. It closes what it opened, in reverse order.
func run(ctx context.Context, o options, logOutput io.Writer) (err error) {
	logger := newLogger(o, logOutput)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(o.bufferBytes + besidesBuffers)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	var kubernetes *rest.Config
	if o.configDir == "" {
		if kubernetes, err = kubernetesConfig(o.kubeconfig); err != nil {
			return err
		}
	}
	if err := local.MakeFolder(o.dataDir); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	unlock, err := lockData(o)
	if err != nil {
		return err
	}
	defer unlock()
	if kubernetes != nil && o.sqlite() {
		logger.Warn("SQLite serves only this replica: several replicas need PostgreSQL and --leader-elect")
	}
	db, err := database.Open(ctx, o.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if warnings, err := db.Warnings(ctx); err != nil {
		return err
	} else if len(warnings) > 0 {
		logger.Warn("a power cut may lose what this database has committed", "settings", strings.Join(warnings, " "))
	}
	table := routing.New()
	metrics := newMetrics()
	service, err := openService(ctx, service.Options{Database: db, Placer: table, Logger: logger, HeadHeld: headHeld(metrics), UploadLifetime: o.uploadLifetime})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close()) }()

	settings := declared.Settings{LocalRoot: o.localRoot, AllowAmbient: o.allowAmbient}
	if o.configDir != "" {
		settings.DataDir = o.dataDir
	}
	observer := observe.New(service, buffer.New(o.bufferBytes, buffer.DefaultEach), settings, observe.NewMetrics(metrics))
	defer func() { err = errors.Join(err, observer.Close()) }()

	who, err := openAccess(o, kubernetes, metrics, logger)
	if err != nil {
		return err
	}

	// The control plane ends after the drain, so that the routing table stays current for running requests.
	control, stopControl := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stopControl()
	failed := make(chan error, 1)
	led, stopLeading := context.WithCancel(control)
	defer stopLeading()
	running.Go(func() { standDown(control, service.CheckFence, logger, stopLeading) })
	running.Go(func() {
		if kubernetes != nil {
			cluster := controllers.Cluster{Config: kubernetes, Namespace: o.namespace, LeaderElection: o.leaderElect, Settings: settings, Pods: verificationPods(o), Observer: observer, Registrar: service, Table: table, Logger: logger}
			cluster.Run(led)
			return
		}
		embedded := controllers.Embedded{Dir: o.configDir, Observer: observer, Table: table, Logger: logger, Verify: verifier(service, logger)}
		failed <- embedded.Run(control)
	})
	running.Go(func() { who.run(control) })
	ready := func(ctx context.Context) error {
		if !table.Loaded() {
			return errors.New("no routing table has been loaded yet")
		}
		ctx, cancel := context.WithTimeout(ctx, registry.CheckTimeout)
		defer cancel()
		if err := service.CheckFence(ctx); errors.Is(err, registry.ErrFenced) {
			return err
		} else if err != nil {
			logger.Warn("not ready", "error", err)
			return errors.New("the database does not answer")
		}
		// Where only writing is refused, as by a full disk, what is stored is still served.
		err := service.CheckWrites(ctx)
		if refused, is := errors.AsType[*registry.DatabaseError](err); err == nil || is && refused.Reads {
			return nil
		}
		logger.Warn("not ready", "error", err)
		return errors.New("the database does not take writes")
	}
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	connections := serving.NewConnections(o.maxConnections)
	api := httpapi.Options{
		Logger: logger, Metrics: metrics, MoreMetrics: controllerMetrics(), MetricsApart: o.metricsListen != "", Ready: ready,
		Context: streams, Stopping: ctx, Version: version(), RequestsPerSecond: o.requestsPerSecond, Crowded: connections.Crowded, RequestsAtOnce: connections.OfOneHolder(),
		// With authentication a page in a user's browser has no token.
		Authenticator: who.authenticator, LoopbackOnly: o.anonymous() && !o.allowAnonymous,
	}
	s := server{options: o, logger: logger, connections: connections, registry: httpapi.NewHandler(who.guard(service), api), health: httpapi.NewHealthHandler(api), endStreams: endStreams}
	return s.run(ctx, metrics, failed)
}

func mode(o options) string {
	if o.configDir != "" {
		return "embedded"
	}
	return "cluster"
}

func newLogger(o options, output io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: o.logLevel}
	var handler slog.Handler = slog.NewTextHandler(output, options)
	if o.logFormat == "json" {
		handler = slog.NewJSONHandler(output, options)
	}
	logger := slog.New(handler)
	slog.SetDefault(logger)
	// client-go and controller-runtime use global loggers.
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(logger)
	return logger
}

// kubernetesConfig finds the API server like kubectl, or like a pod.
func kubernetesConfig(file string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: cannot connect to Kubernetes (--config-dir runs without it): %w", err)
	}
	return config, nil
}

// buildVersion is set by the linker (-X main.buildVersion=…); see the Makefile.
var buildVersion string

// version falls back on what `go install module@version` records.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// newMetrics returns the registry for the manager's own series, with those of
// Go, of the process and of the build.
func newMetrics() *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "artifactstore_build_info", Help: "Always 1; the labels say which version runs.",
		ConstLabels: prometheus.Labels{"version": version(), "goversion": runtime.Version()},
	})
	build.Set(1)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(build, collectors.NewBuildInfoCollector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return metrics
}

// headHeld makes the histogram of how long the lock of the log's head is held.
func headHeld(metrics prometheus.Registerer) func(time.Duration) {
	held := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "artifactstore_log_head_held_seconds", Help: "How long appends held the lock of the event log's head.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .15, .3, 1, 3, 10},
	})
	metrics.MustRegister(held)
	return func(d time.Duration) { held.Observe(d.Seconds()) }
}

// controllerMetrics are the series of controller-runtime and client-go:
// reconciliations, work queues, requests to the API server, the lease. Their
// registry has those of Go and of the process, too, which newMetrics has.
func controllerMetrics() prometheus.Gatherer {
	registry := controllermetrics.Registry
	registry.Unregister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.Unregister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)))
	return registry
}
