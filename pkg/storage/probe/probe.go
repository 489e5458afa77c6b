// Package probe finds out whether a store keeps the storage contract, on the
// user's own place and without a test framework.
package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Status of a finding, spelt as a Kubernetes condition's.
type Status string

// A finding is Unknown where the probe did not get so far as to try.
const (
	True    Status = "True"
	False   Status = "False"
	Unknown Status = "Unknown"
)

// Reasons beside those of package storage.
const (
	ReasonReachable = "Reachable"
	ReasonWritable  = "Writable"
	ReasonNotTried  = "NotTried"
	// ReasonContractBroken: the store answered, and wrongly.
	ReasonContractBroken = "ContractBroken"
)

// Finding is what a condition shows. Message holds no secret.
type Finding struct {
	Status  Status
	Reason  string // CamelCase
	Message string // one sentence
}

// Step is one verb that was tried.
type Step struct {
	Verb string // put, get, delete
	Took time.Duration
	Err  error // nil if it went well
}

// Report is what a probe found.
type Report struct {
	// Reachable: the place answers and takes the credentials.
	Reachable Finding
	// Writable: bytes can be put, are the same when read, and can be deleted.
	Writable Finding
	// Steps in the order in which they were tried.
	Steps []Step
}

// OK reports whether both findings are True.
func (r Report) OK() bool { return r.Reachable.Status == True && r.Writable.Status == True }

// Err returns the first step's failure, nil if there was none.
func (r Report) Err() error {
	for _, step := range r.Steps {
		if step.Err != nil {
			return fmt.Errorf("%s: %w", step.Verb, step.Err)
		}
	}
	return nil
}

// smallSize is what Small writes, in bytes.
const smallSize = 1 << 10

// errContract is in the chain of errors of a store that answered wrongly.
var errContract = errors.New("the storage broke its contract")

// Small puts, gets and deletes 1 KiB of random bytes: three cheap requests. (A
// head asks for the same right as a get; Full tries it apart.) Whether the place answers at all is cheaper found out by its
// Health, before. store should be one below the probe prefix (backends.ForProbe).
// The context bounds the whole; what was put is deleted also when the probe
// fails, as far as the place lets it.
func Small(ctx context.Context, store storage.Store) Report {
	p := &probe{store: store, data: make([]byte, smallSize)}
	rand.Read(p.data) //nolint:errcheck // never fails, by its contract
	p.dual = digest.Of(p.data)
	return p.run(ctx)
}

type probe struct {
	store storage.Store
	data  []byte
	dual  digest.Dual
	steps []Step
}

func (p *probe) run(ctx context.Context) Report {
	verbs := []struct {
		name string
		do   func(context.Context) error
	}{{"put", p.put}, {"get", p.get}, {"delete", p.remove}}
	for _, verb := range verbs {
		began := time.Now()
		err := verb.do(ctx)
		p.steps = append(p.steps, Step{verb.name, time.Since(began), err})
		if err != nil {
			p.cleanUp(ctx)
			break
		}
	}
	return p.report(len(verbs))
}

// report decides from the steps; all is how many there would have been.
func (p *probe) report(all int) Report {
	r := Report{
		Reachable: Finding{True, ReasonReachable, "The storage answers and takes the credentials."},
		Writable:  Finding{True, ReasonWritable, "Bytes can be put, read back the same, and deleted."},
		Steps:     p.steps,
	}
	last := p.steps[len(p.steps)-1]
	if last.Err == nil && len(p.steps) == all {
		return r
	}
	broken := Finding{False, reasonOf(last.Err), fmt.Sprintf("%s: %s.", last.Verb, last.Err)}
	if errors.Is(last.Err, context.Canceled) {
		// Whoever cancelled the probe is no finding about the place.
		broken = Finding{Unknown, ReasonNotTried, "The probe was cancelled."}
	}
	if errors.Is(last.Err, storage.ErrUnreachable) {
		r.Reachable = broken
		r.Writable = Finding{Unknown, ReasonNotTried, "The storage could not be reached, so writing was not tried to its end."}
		return r
	}
	r.Writable = broken
	return r
}

func reasonOf(err error) string {
	if errors.Is(err, errContract) {
		return ReasonContractBroken
	}
	return storage.ReasonOf(err)
}

func (p *probe) put(ctx context.Context) error {
	_, err := p.store.Put(ctx, storage.Source{Reader: bytes.NewReader(p.data), Size: smallSize, Want: p.dual})
	return err
}

func (p *probe) head(ctx context.Context) error {
	info, err := p.store.Head(ctx, p.dual.SHA256)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w: what was put is not there", errContract)
	}
	if err == nil && info.Size != smallSize {
		return fmt.Errorf("%w: %d bytes were put, it names %d", errContract, smallSize, info.Size)
	}
	return err
}

func (p *probe) get(ctx context.Context) error {
	r, _, err := p.store.Get(ctx, p.dual.SHA256, nil)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w: what was put is not there", errContract)
	}
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // opened for reading only
	back, err := io.ReadAll(io.LimitReader(r, smallSize+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(back, p.data) {
		return fmt.Errorf("%w: other bytes came back than were put", errContract)
	}
	return nil
}

func (p *probe) remove(ctx context.Context) error {
	return p.store.Delete(ctx, p.dual.SHA256)
}

// cleanUpTime is what removing the probe's bytes may take after its context.
const cleanUpTime = 5 * time.Second

func (p *probe) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	p.store.Delete(ctx, p.dual.SHA256) //nolint:errcheck // 1 KiB below the probe prefix does no harm
}
