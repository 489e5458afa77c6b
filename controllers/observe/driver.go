package observe

import (
	"context"
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

// driver is what this process knows of one declared backend. mu is held during
// I/O and guards the fields of the first block. Callers that must not wait for I/O
// read published. A full probe takes longer than a look, and does not hold mu.
type driver struct {
	mu       sync.Mutex
	serving          // what the routing table uses
	declared wanted  // what is declared now
	terms    terms   // what is declared now about probes
	tried    trial   // the last attempt at it
	verdict          // what is wrong with it
	refused  refused // how often in a row
	history  status.History

	full      fullProbes
	published atomic.Pointer[published] // nil before the first look

	// life ends when the backend is forgotten, and with it what is done for the backend.
	life context.Context
	end  context.CancelFunc
}

// verdict is what is wrong with what is declared now, and what that leaves of
// the serving driver, which need not be of the same declaration.
type verdict struct {
	problem  *declared.Problem
	lastGood status.LastGood
	lost     int // looks at the last good driver in a row that got no answer
}

// trial is an attempt at what was declared then.
type trial struct {
	config     backends.Config
	generation int64
	at         time.Time
	ready      bool // by the recorded status then
	request    string
}

// refused counts how many times in a row the same was refused, after the first.
type refused struct {
	again  int
	reason string
}

// fullProbes are those of one backend. making is held during one; behind is set
// while one is made, or waits for its turn, that no look waits for.
type fullProbes struct {
	making sync.Mutex
	behind atomic.Bool
	last   atomic.Pointer[fullProbe]
}

// published is a copy of a driver's state. It is replaced and never changed.
type published struct {
	status.Opened
	config   backends.Config
	declared wanted
	terms    terms
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
	// keeps: by the recorded status, what is deleted stays; see the function.
	keeps bool
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

// publish makes the state known, and reports whether the table needs another
// entry for the backend. mu is held.
func (d *driver) publish(at time.Time) (changed bool) {
	now := status.Opened{Store: d.store, ID: d.id, Place: d.config.Place(), Problem: d.problem, LastGood: d.lastGood, At: at}
	was := d.published.Load()
	d.published.Store(&published{Opened: now, config: d.config, declared: d.declared, terms: d.terms})
	return was == nil || was.Store != now.Store || was.ID != now.ID || was.LastGood != now.LastGood || !reflect.DeepEqual(was.Problem, now.Problem)
}
