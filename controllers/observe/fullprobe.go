package observe

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

const (
	// fullInterval is from when on a full probe is made again though nothing changed.
	fullInterval = 24 * time.Hour
	// fullRetry is the wait after one that got no answer to something or did not
	// find all that new blobs need, or while the place refuses puts.
	fullRetry = 10 * time.Minute
	// fullTimeout bounds one, unless spec.probe.timeout is longer.
	fullTimeout = time.Minute
	// fullAtOnce in the process: each takes 5 MiB of memory besides the uploads' budget.
	fullAtOnce = 2
)

// fullProbe is what one full probe found.
type fullProbe struct {
	config     backends.Config // that it was made with, secrets and all
	request    string          // that someone had made by then
	generation int64
	at         time.Time
	well       bool // the place took 1 KiB then
	report     probe.FullReport
}

// of reports whether p was made with the config.
func (p *fullProbe) of(config backends.Config) bool {
	return p != nil && reflect.DeepEqual(p.config, config)
}

// fullDue says whether a full probe is to be made after a small one that found
// wrong: for a new generation, a changed Secret or a request at once, once a day otherwise.
// A place that recovers is probed again at once, one that does not now and then.
func fullDue(last *fullProbe, config backends.Config, terms terms, wrong *declared.Problem, now time.Time) bool {
	if wrong != nil && (wrong.Condition != v1alpha1.ConditionWritable || wrong.Lost) {
		return false // it would find no more than that
	}
	if !last.of(config) || last.generation != terms.generation || terms.request != "" && last.request != terms.request || (wrong == nil && !last.well) {
		return true
	}
	age := now.Sub(last.at)
	return age >= fullInterval || age >= fullRetry && (wrong != nil || !last.report.Complete() || !last.report.OK())
}

// explained names the cause where a place refuses puts for what each asks of it.
func explained(wrong *declared.Problem, last *fullProbe) *declared.Problem {
	if wrong == nil || last == nil || wrong.Condition != v1alpha1.ConditionWritable {
		return wrong
	}
	refused, ok := last.report.Refused()
	if !ok || !slices.Contains([]string{storage.ReasonInvalidRequest, storage.ReasonAccessDenied}, wrong.Reason) {
		return wrong
	}
	return &declared.Problem{Condition: wrong.Condition, Reason: refused.Reason, Message: refused.Message}
}

// capabilities lists what was found; nil where no probe was made.
func (p *fullProbe) capabilities() []storage.Capability {
	if p == nil {
		return nil
	}
	all := make([]storage.Capability, 0, len(p.report.Results))
	for _, one := range p.report.Results {
		all = append(all, one.Capability)
	}
	return all
}

// lastFull returns the last full probe that was made with the config, nil for none.
func (d *driver) lastFull(config backends.Config) *fullProbe {
	if last := d.full.last.Load(); last.of(config) {
		return last
	}
	return nil
}

// full makes a full probe and remembers it, unless ctx ended meanwhile.
// d.full.making is held, and a slot of o.fulls.
func (o *Observer) full(ctx context.Context, d *driver, config backends.Config, terms terms, well bool) (*fullProbe, error) {
	if last := d.lastFull(config); last != nil {
		terms.keeps = keeps(last.capabilities())
	}
	made, err := o.tryFully(ctx, config, terms, well)
	if err == nil && !terms.readOnly {
		d.full.last.Store(made)
	}
	return made, err
}

// tryFully makes a full probe, unless ctx ended meanwhile. A slot of o.fulls is held.
func (o *Observer) tryFully(ctx context.Context, config backends.Config, terms terms, well bool) (*fullProbe, error) {
	began := o.now()
	probing, cancel := context.WithTimeout(ctx, terms.timeout)
	defer cancel()
	place := config.ForProbe()
	if terms.readOnly && config.Local != nil {
		place = config // nothing is written, and the probe's folder may be missing
	}
	store, err := backends.Open(probing, place, buffer.New(probeBuffer, probeBuffer))
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // whatever it held was deleted or is the probe's own
	made := &fullProbe{config: config, generation: terms.generation, request: terms.request, at: began, well: well}
	if terms.keeps && !terms.readOnly {
		made.report = probe.Sparing(probing, store)
	} else {
		made.report = probe.Full(probing, store, terms.readOnly)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the caller has gone: that is not a finding
	}
	return made, nil
}

// fullBehind has a full probe made behind the look that found wrong, if one is
// due, and reports whether it is. Listeners are told when it has ended: what it
// found is for the look that they make then.
func (o *Observer) fullBehind(d *driver, sb *v1alpha1.StorageBackend, config backends.Config, last *fullProbe, wrong *declared.Problem) (due bool) {
	terms := termsOf(sb, true)
	if !fullDue(last, config, terms, wrong, o.now()) {
		return false
	}
	if !d.full.behind.CompareAndSwap(false, true) {
		return true
	}
	o.behind.Go(func() {
		if o.fullInTurn(d, config, terms, last, wrong == nil) {
			o.tell(sb.Name, true)
		}
	})
	return true
}

// fullInTurn makes a full probe when there is a slot, and reports whether there is something new.
func (o *Observer) fullInTurn(d *driver, config backends.Config, terms terms, last *fullProbe, well bool) bool {
	defer d.full.behind.Store(false)
	select {
	case o.fulls <- struct{}{}:
		defer func() { <-o.fulls }()
	case <-d.life.Done():
		return false
	}
	d.full.making.Lock()
	defer d.full.making.Unlock()
	if d.lastFull(config) != last {
		return true // one was requested meanwhile
	}
	_, err := o.full(d.life, d, config, terms, well)
	return err == nil // the small probe has the word on what it could be
}

// prober is a registrar.Prober of one backend.
type prober struct {
	o    *Observer
	name string
}

// Probe implements registrar.Prober. What is declared is tried, also while the
// previous credentials are in use: the caller wants to know what is wrong with it. No
// driver is switched over for it; that is for the looks alone.
func (p prober) Probe(ctx context.Context) (registrar.ProbeReport, error) {
	d := p.o.drivers.of(p.name)
	if !d.full.making.TryLock() {
		return registrar.ProbeReport{}, registrar.ErrProbing
	}
	defer d.full.making.Unlock()
	is := published{}
	if p := d.published.Load(); p != nil {
		is = *p
	}
	opened, serves, declared, terms := is.Opened, is.config, is.declared, is.terms
	known, inService := opened.Store != nil && opened.ID != "" && terms.holds, reflect.DeepEqual(declared.config, serves)
	report := registrar.ProbeReport{Backend: p.name, BackendID: opened.ID, At: p.o.now(), Results: []registrar.ProbeResult{}}
	if !known || !inService {
		report.Reason, report.Message = status.ReasonNotObserved, "this replica has not opened it yet"
		if opened.Problem != nil {
			report.Reason, report.Message = opened.Problem.Reason, opened.Problem.Message+status.GoesOn(opened.Problem, opened.LastGood)
		}
		if !known || !declared.ours {
			// Not even a probe writes to a place that is not known to be ours.
			return report, nil
		}
	}
	select {
	case p.o.fulls <- struct{}{}:
		defer func() { <-p.o.fulls }()
	case <-ctx.Done():
		return report, ctx.Err()
	}
	var made *fullProbe
	var err error
	if report.Configuration = registrar.ConfigurationInService; inService {
		made, err = p.o.full(ctx, d, serves, terms, true)
	} else {
		// Not remembered: capabilities in the status are what looks go by.
		report.Configuration = registrar.ConfigurationDeclared
		made, err = p.o.tryFully(ctx, declared.config, terms, false)
	}
	if err != nil {
		return report, err
	}
	report.At, report.Seconds, report.OK = made.at, p.o.now().Sub(made.at).Seconds(), made.report.OK() && inService
	for _, one := range made.report.Results {
		report.Results = append(report.Results, registrar.ProbeResult{Capability: one.Capability, Needed: one.Needed, Reason: one.Why(), Detail: one.Detail, Seconds: one.Took.Seconds()})
	}
	return report, nil
}
