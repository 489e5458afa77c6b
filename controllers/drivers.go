package controllers

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

// The defaults and bounds of spec.probe, as the schema has them: files have no schema.
const (
	defaultInterval         = time.Minute
	defaultTimeout          = 15 * time.Second
	defaultFailureThreshold = 3

	minInterval, maxInterval = 5 * time.Second, 24 * time.Hour
	minTimeout, maxTimeout   = time.Second, 5 * time.Minute
	maxFailureThreshold      = 20
)

const (
	// retryUnwell is the longest wait before a backend that is not Ready is looked at again.
	retryUnwell = 15 * time.Second
	// retryPending is the longest wait for what a full probe finds; most take less than a second.
	retryPending = 5 * time.Second
	// retireAfter is how long a replaced driver stays open for the requests
	// that still use it: a 10 GiB object at 3 MB/s takes an hour.
	retireAfter = time.Hour
)

// driver is what this process has of one declared backend.
type driver struct {
	mu      sync.Mutex // held during I/O
	config  backends.Config
	store   storage.Backend
	id      string
	problem *Problem
	history history
	terms   terms

	// trying is held during a full probe, which does not hold mu.
	trying sync.Mutex
	// life ends when the backend is forgotten: full probes for which nobody waits end with it.
	life context.Context
	end  context.CancelFunc

	// published is a copy of the state for those who must not wait for I/O.
	published struct {
		sync.Mutex
		set bool
		Opened
		config backends.Config
		terms  terms
		full   *fullProbe // the last one, replaced and never changed
	}
}

// terms are what a backend's declaration says of probes.
type terms struct {
	generation int64
	readOnly   bool
	timeout    time.Duration // of a full probe
	// holds: the declaration can be followed; the driver is not that of an earlier one.
	holds bool
}

// has reports whether the open driver is that of config. Secrets in it compare by value.
func (d *driver) has(config backends.Config) bool {
	return d.store != nil && reflect.DeepEqual(d.config, config)
}

// state publishes what is known now and returns it. mu is held.
func (d *driver) state(at time.Time) Opened {
	now := Opened{Store: d.store, ID: d.id, Problem: d.problem, At: at}
	d.published.Lock()
	defer d.published.Unlock()
	d.published.set, d.published.Opened = true, now
	d.published.config, d.published.terms = d.config, d.terms
	return now
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
func (ds *drivers) opened() map[string]Opened {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	all := map[string]Opened{}
	for name, d := range ds.byName {
		d.published.Lock()
		if d.published.set {
			all[name] = d.published.Opened
		}
		d.published.Unlock()
	}
	return all
}

// replace gives d a new driver, of which nothing is known yet. d.mu is held.
func (ds *drivers) replace(d *driver, config backends.Config, store storage.Backend) {
	ds.drop(d)
	d.config, d.store = config, store
}

// drop takes d's driver away and closes it later. d.mu is held.
func (ds *drivers) drop(d *driver) {
	old := d.store
	d.store, d.id, d.config = nil, "", backends.Config{}
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

// jitter adds up to a tenth, so that many backends are not probed in step.
func jitter(wait time.Duration) time.Duration {
	return wait + time.Duration(rand.Int64N(int64(wait)/10+1))
}
