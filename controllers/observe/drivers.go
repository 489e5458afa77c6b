package observe

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

// retireAfter is how long a replaced driver stays open for the requests
// that still use it: a 10 GiB object at 3 MB/s takes an hour.
const retireAfter = time.Hour

// driver is what this process has of one declared backend.
type driver struct {
	mu sync.Mutex // held during I/O
	// serving is the driver that the table has: of what was declared when it was
	// last found well, which need not be what is declared now.
	serving
	// problem is what is wrong with what is declared now, lastGood what that
	// leaves of the serving driver.
	problem  *declared.Problem
	lastGood status.LastGood
	lost     int // looks at the serving driver in a row that got no answer while it is the last good one
	history  status.History
	terms    terms
	// declared is the driver's config as it is declared now; empty where that cannot be followed.
	declared wanted
	// tried is the last attempt at what was declared then.
	tried struct {
		config     backends.Config
		generation int64
		at         time.Time
		ready      bool // by the recorded status then
		request    string
	}
	// again is how many times in a row the same was refused, after the first.
	again   int
	refused string // the reason

	// trying is held during a full probe, which does not hold mu; behind is set
	// while one is made, or waits for its turn, for which nobody waits.
	trying sync.Mutex
	behind atomic.Bool
	// life ends when the backend is forgotten: what is done for it ends with it.
	life context.Context
	end  context.CancelFunc

	// published is a copy of the state for those who must not wait for I/O.
	published struct {
		sync.Mutex
		set bool
		status.Opened
		config   backends.Config
		declared wanted
		terms    terms
		full     *fullProbe // the last one, replaced and never changed
	}
}

// serving is an open driver and what it was opened by.
type serving struct {
	store  storage.Backend // nil for none
	config backends.Config
	id     string // in the place's marker
	spec   v1alpha1.StorageBackendSpec
}

// wanted is a config that is declared. ours: the place that it leads to was
// found to be this backend's, by it.
type wanted struct {
	config backends.Config
	ours   bool
}

// terms are what a backend's declaration says of probes.
type terms struct {
	generation int64
	readOnly   bool
	timeout    time.Duration // of a full probe
	request    string        // that someone made by annotation
	// holds: the declaration can be followed; the driver is not that of an earlier one.
	holds bool
}

// has reports whether the serving driver is that of config. Secrets in it compare by value.
func (d *driver) has(config backends.Config) bool {
	return d.store != nil && reflect.DeepEqual(d.config, config)
}

// declare takes up what is declared now.
func (d *driver) declare(config backends.Config) {
	if !reflect.DeepEqual(d.declared.config, config) {
		d.declared = wanted{config: config}
	}
}

// differsInCredentials reports whether the serving driver is of a declaration
// that says the same but for where credentials come from, and how to probe.
func (d *driver) differsInCredentials(spec v1alpha1.StorageBackendSpec) bool {
	return d.store != nil && reflect.DeepEqual(declared.WithoutCredentials(d.spec), declared.WithoutCredentials(spec))
}

// state publishes what is known now, returns it, and reports whether the table
// is to have another entry for it. mu is held.
func (d *driver) state(at time.Time) (now status.Opened, changed bool) {
	now = status.Opened{Store: d.store, ID: d.id, Place: d.config.Place(), Problem: d.problem, LastGood: d.lastGood, At: at}
	d.published.Lock()
	defer d.published.Unlock()
	was := d.published.Opened
	changed = !d.published.set || was.Store != now.Store || was.ID != now.ID || was.LastGood != now.LastGood || !reflect.DeepEqual(was.Problem, now.Problem)
	d.published.set, d.published.Opened = true, now
	d.published.config, d.published.declared, d.published.terms = d.config, d.declared, d.terms
	return now, changed
}

// known reports whether anything was published yet.
func (d *driver) known() bool {
	d.published.Lock()
	defer d.published.Unlock()
	return d.published.set
}

// drivers holds every driver of the process by the backend's name, and those
// that were replaced until requests in flight may have ended.
type drivers struct {
	mu      sync.Mutex
	byName  map[string]*driver
	retired map[storage.Backend]*time.Timer
}

func newDrivers() *drivers {
	return &drivers{byName: map[string]*driver{}, retired: map[storage.Backend]*time.Timer{}}
}

func (ds *drivers) of(name string) *driver {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byName[name]
	if d == nil {
		d = &driver{}
		d.life, d.end = context.WithCancel(context.Background())
		ds.byName[name] = d
	}
	return d
}

// opened lists the published states.
func (ds *drivers) opened() map[string]status.Opened {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	all := make(map[string]status.Opened, len(ds.byName))
	for name, d := range ds.byName {
		d.published.Lock()
		if d.published.set {
			all[name] = d.published.Opened
		}
		d.published.Unlock()
	}
	return all
}

// replace has d serve by another driver; requests in flight end on the old one. d.mu is held.
func (ds *drivers) replace(d *driver, next serving) {
	ds.drop(d)
	d.serving = next
}

// drop takes d's driver away and closes it later. d.mu is held.
func (ds *drivers) drop(d *driver) {
	old := d.store
	d.serving = serving{}
	if old == nil {
		return
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.retired[old] = time.AfterFunc(retireAfter, func() {
		ds.mu.Lock()
		delete(ds.retired, old)
		ds.mu.Unlock()
		old.Close() //nolint:errcheck // nothing was written through it for an hour
	})
}

func (ds *drivers) forget(name string) {
	ds.mu.Lock()
	d := ds.byName[name]
	delete(ds.byName, name)
	ds.mu.Unlock()
	if d != nil {
		d.end()
		d.mu.Lock()
		defer d.mu.Unlock()
		ds.drop(d)
	}
}

func (ds *drivers) closeAll() error {
	ds.mu.Lock()
	all := ds.byName
	ds.byName = map[string]*driver{}
	ds.mu.Unlock()
	for _, d := range all {
		d.end()
		d.mu.Lock()
		ds.drop(d)
		d.mu.Unlock()
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	var errs []error
	for store, timer := range ds.retired {
		if timer.Stop() {
			errs = append(errs, store.Close())
		}
	}
	clear(ds.retired)
	return errors.Join(errs...)
}
