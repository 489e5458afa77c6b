package controllers

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// openTimeout bounds the reading of a marker when a driver is opened.
const openTimeout = 10 * time.Second

// probeBuffer is the memory of one probe in bytes; it puts 1 KiB. Each has its
// own: a place is not unwell because uploads hold all of theirs, or because
// another place's probe hangs.
const probeBuffer = 16 << 10

// Observer does the I/O of reconciliation: it opens drivers, reads markers and
// probes. It outlives the controllers that use it, so that its drivers serve
// on while they are gone. All methods may be called concurrently.
type Observer struct {
	registrar placement.Registrar
	pool      *buffer.Pool
	settings  Settings
	metrics   *Metrics
	drivers   *drivers
	fulls     chan struct{}  // a slot for each full probe under way
	behind    sync.WaitGroup // full probes for which no look waits
	now       func() time.Time
}

// NewObserver returns an Observer. pool is the process's budget of buffers;
// metrics may be nil. Close closes every driver.
func NewObserver(registrar placement.Registrar, pool *buffer.Pool, settings Settings, metrics *Metrics) *Observer {
	return &Observer{registrar: registrar, pool: pool, settings: settings, metrics: metrics, drivers: newDrivers(),
		fulls: make(chan struct{}, fullAtOnce), now: time.Now}
}

// Close closes every driver; requests in flight may fail. It waits until full
// probes have cleaned up. The Observer is of no use afterwards.
func (o *Observer) Close() error {
	defer o.behind.Wait()
	return o.drivers.closeAll()
}

// Forget drops a backend that is no longer declared.
func (o *Observer) Forget(name string) {
	o.drivers.forget(name)
	o.metrics.forget(name)
}

// StandDown forgets how the backends were: another replica looks at them from
// now on, and two that tell different things would be believed by nobody.
func (o *Observer) StandDown() { o.metrics.standDown() }

// Opened returns what this process has of each backend that was tried.
func (o *Observer) Opened() map[string]Opened {
	all := o.drivers.opened()
	for name, opened := range all {
		opened.Prober = prober{o, name}
		all[name] = opened
	}
	return all
}

// Open makes sure that this process has the driver that sb declares and knows
// the id in its marker. declared are all backends, sb among them or not: a
// place that overlaps another's is refused. It does no I/O where it has both already, and nothing
// before the leader has registered the backend: only Observe makes markers.
func (o *Observer) Open(ctx context.Context, sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend, lookup Lookup) Opened {
	d := o.drivers.of(sb.Name)
	d.mu.Lock()
	defer d.mu.Unlock()
	config, wrong := backendConfig(sb, declared, lookup, o.settings)
	d.terms = termsOf(sb, wrong == nil)
	switch {
	case wrong != nil:
		// The driver of the last good declaration, if any, still reads what it holds.
		d.problem = wrong
	case sb.Status.ID == "" && d.id == "":
		d.problem = problem(v1alpha1.ConditionReachable, ReasonNotObserved, "it was not registered yet")
	default:
		o.open(ctx, d, sb, config, false)
	}
	return d.state(o.now())
}

// Observe opens sb as Open does and tries it: the marker is read again, an
// object is put, read and deleted (not where it is read-only or suspended),
// and the findings are asked for. When it is due every verb is tried apart, for
// which nobody waits: what that finds comes with a later observation.
// Settled says what it means after the observations before it. Observations of
// one backend are made one after the other.
func (o *Observer) Observe(ctx context.Context, sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend, lookup Lookup) Observation {
	d := o.drivers.of(sb.Name)
	seen := Observation{
		Generation: sb.Generation, Driver: driverOf(sb), At: o.now(),
		ReadOnly: sb.Spec.Access == v1alpha1.ReadOnly, Suspended: sb.Spec.Probe.Suspend,
		Credentials: credentialsOf(sb),
	}
	config, ours, wrong := o.look(ctx, d, sb, declared, lookup)
	o.metrics.probed(sb.Name, wrong, o.now().Sub(seen.At))
	last := d.lastFull(config)
	if last.outdated(sb.Generation, sb.Status) {
		last = nil
	}
	tried := !seen.ReadOnly && !seen.Suspended
	if ours && tried {
		seen.Pending = o.fullBehind(d, config, termsOf(sb, true), last, wrong)
	}
	seen.Problem, seen.Capabilities = explained(wrong, last), standing(last.capabilities(), sb.Generation, sb.Status)
	if tried && (wrong == nil || wrong.Reason == storage.ReasonThrottled) {
		// Small puts that succeed, or must wait, are not all that is needed.
		if lack := lacking(seen.Capabilities, last, sb.Status); lack != nil {
			seen.Problem = lack
		}
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if wrong != nil && wrong.Reason == ReasonForeignMarker {
		// What was found is of a place that is not this one any more.
		seen.Capabilities = nil
		d.forgetFull()
	}
	seen.ID, seen.Place = d.id, config.Place()
	seen.Findings = o.findings(ctx, firstOf(d.id, sb.Status.ID))
	threshold := int(sb.Spec.Probe.FailureThreshold)
	if threshold == 0 {
		threshold = defaultFailureThreshold
	}
	var settled Observation
	d.history, settled = d.history.settle(seen, sb.Status, threshold)
	d.state(seen.At)
	o.metrics.state(sb.Name, settled)
	return settled
}

// look is the small look at a backend. config is empty where the declaration
// cannot be followed; ours says that the place answered with our marker.
func (o *Observer) look(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend, lookup Lookup) (config backends.Config, ours bool, wrong *Problem) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, duration(sb.Spec.Probe.Timeout, defaultTimeout))
	defer cancel()
	config, wrong = backendConfig(sb, declared, lookup, o.settings)
	d.terms = termsOf(sb, wrong == nil)
	if wrong != nil {
		d.problem = wrong
		return config, false, wrong
	}
	wrong = o.try(ctx, d, sb, config)
	return config, d.problem == nil, wrong
}

func termsOf(sb *v1alpha1.StorageBackend, holds bool) terms {
	return terms{
		generation: sb.Generation, readOnly: sb.Spec.Access == v1alpha1.ReadOnly, holds: holds,
		timeout: max(fullTimeout, duration(sb.Spec.Probe.Timeout, defaultTimeout)),
	}
}

// try opens the driver and walks through the stages; the first problem ends it.
func (o *Observer) try(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, config backends.Config) *Problem {
	if wrong := o.open(ctx, d, sb, config, true); wrong != nil {
		return wrong
	}
	if sb.Spec.Access == v1alpha1.ReadOnly || sb.Spec.Probe.Suspend {
		return nil
	}
	store, err := backends.Open(ctx, config.ForProbe(), buffer.New(probeBuffer, probeBuffer))
	if err != nil {
		return placeProblem(v1alpha1.ConditionWritable, err)
	}
	defer store.Close() //nolint:errcheck // whatever it held was deleted or is the probe's own
	return probeProblem(probe.Small(ctx, store))
}

// open replaces the driver if the config changed, checks that the place
// answers, and matches its marker with the log: always where again is set, else
// only if that was not done yet. d.mu is held.
func (o *Observer) open(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, config backends.Config, again bool) (wrong *Problem) {
	if d.has(config) && d.id != "" && d.problem == nil && !again {
		return nil
	}
	defer func() { d.problem = wrong }()
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if !d.has(config) {
		if wrong := o.confined(config); wrong != nil {
			return wrong
		}
		store, err := backends.Open(ctx, config, o.pool)
		if err != nil && config.S3 != nil {
			// It did no I/O: a field does not fit how the manager was started.
			return problem(v1alpha1.ConditionReachable, ReasonInvalidSpec, "spec.%s", err)
		}
		if err != nil {
			return placeProblem(v1alpha1.ConditionReachable, err)
		}
		o.drivers.replace(d, config, store)
	}
	if err := d.store.Health(ctx); err != nil {
		if errors.Is(err, storage.ErrNoPlace) {
			// What was opened is gone; what stands there now must be opened, and known, anew.
			o.drivers.drop(d)
		}
		return placeProblem(v1alpha1.ConditionReachable, err)
	}
	return o.identify(ctx, d, sb, config)
}

// identify matches the marker with the log. A read-only place that has none is not written to.
func (o *Observer) identify(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, config backends.Config) *Problem {
	if sb.Spec.Access == v1alpha1.ReadOnly {
		if _, err := d.store.ReadMarker(ctx); errors.Is(err, storage.ErrNotFound) {
			return problem(v1alpha1.ConditionReachable, ReasonNoMarker, "the place has no marker, and as a ReadOnly backend it is given none")
		}
	}
	id, err := o.registrar.RegisterBackend(ctx, sb.Name, config.Driver(), config.Place(), d.store)
	if errors.Is(err, placement.ErrForeignMarker) {
		// Not even reads go to a place that is another's.
		o.drivers.drop(d)
	}
	if err != nil {
		return identityProblem(err)
	}
	d.id = id
	return nil
}

// confined checks that no symbolic link leads a folder out of the local root.
func (o *Observer) confined(config backends.Config) *Problem {
	if config.Local == nil {
		return nil
	}
	root, err := filepath.EvalSymlinks(o.settings.LocalRoot)
	if err != nil {
		return problem(v1alpha1.ConditionReachable, ReasonPathRefused, "the manager's --local-root cannot be resolved")
	}
	path, err := filepath.EvalSymlinks(config.Local.Path)
	if err == nil && !beneath(root, path) {
		return problem(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: leads out of the manager's --local-root by a symbolic link")
	}
	return nil // what does not exist yet is judged by the driver
}

func (o *Observer) findings(ctx context.Context, id string) *placement.Findings {
	if id == "" {
		return &placement.Findings{}
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	found, err := o.registrar.Findings(ctx, id)
	if err != nil {
		return nil
	}
	return &found
}

func credentialsOf(sb *v1alpha1.StorageBackend) string {
	switch {
	case sb.Spec.S3 == nil:
		return ReasonNotNeeded
	case sb.Spec.S3.AccessKeyRef == nil:
		return ReasonAmbient
	default:
		return ReasonResolved
	}
}

// nextProbe says when a backend is looked at again: at its interval, sooner
// while it is not well or a full probe is pending.
func nextProbe(sb *v1alpha1.StorageBackend, pending bool, status v1alpha1.StorageBackendStatus, jitter func(time.Duration) time.Duration) time.Duration {
	wait := duration(sb.Spec.Probe.Interval, defaultInterval)
	for _, c := range status.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status != metav1.ConditionTrue {
			wait = min(wait, retryUnwell)
		}
	}
	if pending {
		wait = min(wait, retryPending)
	}
	return jitter(wait)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
