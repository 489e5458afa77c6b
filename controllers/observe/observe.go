package observe

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
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
	registrar registrar.Registrar
	pool      *buffer.Pool
	settings  declared.Settings
	metrics   *Metrics
	drivers   *drivers
	breakers  *breakers
	places    declared.PlaceCache
	fulls     chan struct{}  // a slot for each full probe under way
	behind    sync.WaitGroup // full probes for which no look waits
	now       func() time.Time

	listening struct {
		sync.Mutex
		next int
		all  map[int]func(name string, look bool)
	}
}

// New returns an Observer. pool is the process's budget of buffers;
// metrics may be nil. Close closes every driver.
func New(registrar registrar.Registrar, pool *buffer.Pool, settings declared.Settings, metrics *Metrics) *Observer {
	o := &Observer{registrar: registrar, pool: pool, settings: settings, metrics: metrics, drivers: newDrivers(),
		fulls: make(chan struct{}, fullAtOnce), now: time.Now}
	o.listening.all = map[int]func(string, bool){}
	o.breakers = newBreakers(func() time.Time { return o.now() }, func(name string) { o.tell(name, true) })
	return o
}

// Close closes every driver; requests in flight may fail. It waits until full
// probes have cleaned up. The Observer must not be used afterwards.
func (o *Observer) Close() error {
	defer o.behind.Wait()
	return o.drivers.closeAll()
}

// Listen has f called, until stop is, when a backend is to be observed again
// now (look), and when this process has another driver or opinion of one (not
// look): a table made from Opened is then made again. f must not block.
func (o *Observer) Listen(f func(name string, look bool)) (stop func()) {
	l := &o.listening
	l.Lock()
	defer l.Unlock()
	l.next++
	own := l.next
	l.all[own] = f
	return func() {
		l.Lock()
		defer l.Unlock()
		delete(l.all, own)
	}
}

func (o *Observer) tell(name string, look bool) {
	o.listening.Lock()
	defer o.listening.Unlock()
	for _, f := range o.listening.all {
		f(name, look)
	}
}

// Forget drops a backend that is no longer declared.
func (o *Observer) Forget(name string) {
	o.drivers.forget(name)
	o.breakers.forget(name)
	o.metrics.forget(name)
}

// StandDown removes the gauges of all backends: another replica looks at them from
// now on, and two replicas with different values would only confuse.
func (o *Observer) StandDown() { o.metrics.standDown() }

// CountOverdue says whether a location waits longer for verification than the
// backend's schedule promises, by what was found; nil was not found out.
func (o *Observer) CountOverdue(name string, found *registrar.Findings, overdue bool) {
	o.metrics.scheduled(name, found, overdue)
}

// Opened returns what this process has of each backend that was tried.
func (o *Observer) Opened() map[string]status.Opened {
	all := o.drivers.opened()
	for name, opened := range all {
		opened.Prober = prober{o, name}
		all[name] = opened
	}
	return all
}

// Open makes sure that this process has the driver that sb declares and knows
// the id in its marker, and reports when it is worth calling again although
// nothing changed; 0 if it is not. declared are all backends, sb among them or
// not: a place that overlaps another's is refused. A driver that serves is
// replaced only by one that was tried, with a put where puts are allowed. It
// does no I/O where it has both already, nor while the backend is being
// observed, and nothing before the leader has registered the backend: only
// Observe makes markers.
func (o *Observer) Open(ctx context.Context, sb *v1alpha1.StorageBackend, peers []v1alpha1.StorageBackend, lookup declared.Lookup) (again time.Duration) {
	d := o.drivers.of(sb.Name)
	if !d.mu.TryLock() {
		return openAgain
	}
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		return 0
	}
	config, wrong := o.configOf(sb, peers, lookup)
	d.terms = termsOf(sb, wrong == nil)
	switch {
	case wrong != nil:
		d.unresolved(sb, wrong)
	case sb.Status.ID == "" && d.id == "":
		d.problem = declared.Problemf(v1alpha1.ConditionReachable, status.ReasonNotObserved, "it has not been registered yet")
		again = retryLost
	case d.has(config) && d.id != "" && d.problem == nil:
		d.lastGood = status.LastGoodNone
	default:
		if again = d.rest(sb, config, o.now()); again > 0 {
			break
		}
		// Whether bytes can be put to begin with finds out who observes; but what serves is not given up for what was not tried.
		if away := o.attempt(ctx, d, sb, config, d.store != nil && !d.has(config)); away != nil {
			again = away.After
			if away.Problem == nil && d.store == nil && d.published.Load() == nil {
				// It waits for its turn: until then its state is unknown, and a
				// replica that starts is not ready.
				return jitter(again)
			}
			break
		}
		d.count()
		again = d.rest(sb, config, o.now())
	}
	if d.publish(o.now()) {
		o.tell(sb.Name, false)
	}
	if again > 0 {
		again = jitter(again)
	}
	return again
}

// Observe opens sb as Open does and tries it: it reads the marker again, puts,
// reads and deletes an object (unless sb is read-only or suspended), and asks for
// the findings. When it is due, a full probe tries each capability apart. Observe
// does not wait for that: listeners are called to look again when it has ended.
// The observation returned is what this one means after the earlier ones.
// Observations of one backend are made one after the other.
func (o *Observer) Observe(ctx context.Context, sb *v1alpha1.StorageBackend, peers []v1alpha1.StorageBackend, lookup declared.Lookup) status.Observation {
	d := o.drivers.of(sb.Name)
	seen := status.Observation{
		Generation: sb.Generation, Driver: declared.Driver(sb), At: o.now(),
		ReadOnly: sb.Spec.Access == v1alpha1.ReadOnly, Suspended: sb.Spec.Probe.Suspend,
		Credentials: credentialsOf(sb), Request: requestOf(sb),
	}
	found := o.look(ctx, d, sb, peers, lookup)
	if ctx.Err() != nil {
		return seen // broken off: it proves nothing, and who stands down is not to be heard any more
	}
	wrong := found.wrong
	switch seen.Away = found.away; {
	case seen.Away == nil:
		o.metrics.probed(sb.Name, wrong, o.now().Sub(seen.At))
	case seen.Away.Problem == nil:
		return seen // the endpoint is busy; listeners are told when it is not
	default:
		wrong = stillRecorded(seen.Away.Problem, sb)
	}
	last := d.lastFull(found.config)
	if last.outdated(sb.Generation, sb.Status) {
		last = nil
	}
	writes := !seen.ReadOnly && !seen.Suspended
	if found.ours && writes {
		seen.Pending = o.fullBehind(d, sb, found.config, last, wrong)
	}
	seen.LastGood, seen.Head = found.lastGood, found.head
	seen.Problem, seen.Capabilities = judge(wrong, last, writes, sb)
	return o.settle(ctx, d, sb, seen)
}

// settle completes an observation, decides what it means after those before it,
// and publishes the driver's state.
func (o *Observer) settle(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, seen status.Observation) (settled status.Observation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := seen.Problem; p != nil && p.Reason == status.ReasonForeignMarker {
		// What was found is of a place that is not this one any more.
		seen.Capabilities = nil
		d.full.last.Store(nil)
	}
	seen.ID, seen.Place = d.id, declared.Place(sb, o.settings)
	seen.Findings = o.findings(ctx, cmp.Or(d.id, sb.Status.ID))
	d.history, settled = d.history.Settle(seen, sb.Status, declared.FailureThreshold(sb))
	settled.Again = d.refused.again
	if d.publish(seen.At) {
		o.tell(sb.Name, false)
	}
	o.metrics.state(sb.Name, settled)
	return settled
}

// judge joins what a small look found with the last full probe, nil for none.
// Puts that succeed, or must wait, are not all that new blobs need.
func judge(wrong *declared.Problem, last *fullProbe, writes bool, sb *v1alpha1.StorageBackend) (*declared.Problem, []storage.Capability) {
	stand := standing(last.capabilities(), sb.Generation, sb.Status)
	if writes && (wrong == nil || wrong.Reason == storage.ReasonThrottled) {
		tried := stand
		if wrong == nil && !keeps(stand) {
			tried = unproved(stand)
		}
		if lack := lacking(tried, last, sb.Status); lack != nil {
			return lack, stand
		}
	}
	return explained(wrong, last), stand
}

// looked is what a look found. config is empty where the declaration cannot be
// followed; ours says that the place answered with our marker.
type looked struct {
	config   backends.Config
	ours     bool
	wrong    *declared.Problem
	lastGood status.LastGood
	away     *status.Away
	head     *status.HeadMark
}

// look is the small look at a backend.
func (o *Observer) look(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend, lookup declared.Lookup) (found looked) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Forget ends the look.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	found.config, found.wrong = o.configOf(sb, declared, lookup)
	d.terms = termsOf(sb, found.wrong == nil)
	if found.wrong != nil {
		d.unresolved(sb, found.wrong)
		o.tryLastGood(ctx, d, sb)
	} else {
		found.away = o.attempt(ctx, d, sb, found.config, true)
		found.wrong = d.problem
		found.ours = found.away == nil && d.has(found.config) && d.id != ""
		if found.ours && d.store != nil {
			found.head = o.markHead(ctx, d, sb, found.wrong)
		}
	}
	d.count()
	found.lastGood = d.lastGood
	return found
}

// configOf translates sb, unless its place overlaps another's.
func (o *Observer) configOf(sb *v1alpha1.StorageBackend, peers []v1alpha1.StorageBackend, lookup declared.Lookup) (backends.Config, *declared.Problem) {
	config, wrong := declared.Config(sb, lookup, o.settings)
	if wrong == nil {
		wrong = o.places.Of(peers, o.settings).Problem(sb)
	}
	if wrong != nil {
		return backends.Config{}, wrong
	}
	return config, nil
}

func termsOf(sb *v1alpha1.StorageBackend, holds bool) terms {
	return terms{
		generation: sb.Generation, readOnly: sb.Spec.Access == v1alpha1.ReadOnly, holds: holds, request: requestOf(sb),
		keeps:   keeps(standing(nil, sb.Generation, sb.Status)),
		timeout: max(fullTimeout, declared.ProbeTimeout(sb)),
	}
}

func (o *Observer) findings(ctx context.Context, id string) *registrar.Findings {
	if id == "" {
		return &registrar.Findings{}
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
		return status.ReasonNotNeeded
	case sb.Spec.S3.AccessKeyRef == nil:
		return status.ReasonAmbient
	default:
		return status.ReasonResolved
	}
}

// maxRequest bounds what of a request's text is kept.
const maxRequest = 128

// requestOf is the request in the annotation, if it was not handled yet; else "".
func requestOf(sb *v1alpha1.StorageBackend) string {
	request := sb.Annotations[v1alpha1.RequestAnnotation]
	// Cut within a character it would never be what the status has kept of it.
	if request = strings.ToValidUTF8(request[:min(len(request), maxRequest)], ""); request == sb.Status.LastHandledRequest {
		return ""
	}
	return request
}
