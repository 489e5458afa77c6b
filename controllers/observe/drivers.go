package observe

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// retireAfter is how long a replaced driver stays open for requests that still
// use it: a 10 GiB object at 3 MB/s takes an hour.
const retireAfter = time.Hour

// drivers holds every driver of the process by the backend's name, and replaced
// drivers until requests in flight have had time to end.
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
		if p := d.published.Load(); p != nil {
			all[name] = p.Opened
		}
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
