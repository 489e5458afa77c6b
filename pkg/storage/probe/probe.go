// Package probe tests whether a store keeps the storage contract, on the user's
// own place and without a test framework.
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

// Status of a finding, spelled like that of a Kubernetes condition.
type Status string

// A finding is Unknown if the probe did not get as far as testing it.
const (
	True    Status = "True"
	False   Status = "False"
	Unknown Status = "Unknown"
)

// Reasons in addition to those of package storage.
const (
	ReasonReachable = "Reachable"
	ReasonWritable  = "Writable"
	ReasonNotTried  = "NotTried"
	// ReasonContractBroken: the store gave a wrong answer.
	ReasonContractBroken = "ContractBroken"
)

// Finding is the content of a condition. Message contains no secret.
type Finding struct {
	Status  Status
	Reason  string // CamelCase
	Message string // one sentence
}

// Step is one verb that was tested.
type Step struct {
	Verb string // put, get, delete
	Took time.Duration
	Err  error // nil on success
}

// Report is the result of a small probe.
type Report struct {
	// Reachable: the place answers and accepts the credentials.
	Reachable Finding
	// Writable: objects can be stored and read back unchanged. A place that denies
	// deleting stores and serves all the same.
	Writable Finding
	// Steps in the order in which they ran.
	Steps []Step
}

// OK reports whether both findings are True.
func (r Report) OK() bool { return r.Reachable.Status == True && r.Writable.Status == True }

// Err returns the first failed step's error, or nil if the report is OK.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	for _, step := range r.Steps {
		if step.Err != nil {
			return fmt.Errorf("%s: %w", step.Verb, step.Err)
		}
	}
	return nil
}

// smallSize is the size of Small's object, in bytes.
const smallSize = 1 << 10

// errContract is wrapped by errors about wrong answers of a store.
var errContract = errors.New("the storage violates its contract")

// Small puts, gets and deletes 1 KiB of random bytes: three cheap requests. (A
// head needs the same permission as a get; Full tests it separately.) Calling
// Health first is cheaper for finding out whether the place answers at all. store
// should be below the probe prefix (backends.ForProbe). The context bounds the
// whole probe. The object is deleted even if the probe fails, if the place allows it.
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
		if verb.name == Delete && isDenied(err) {
			break
		}
		if err != nil {
			p.cleanUp(ctx)
			break
		}
	}
	return p.report(len(verbs))
}

// report decides from the steps; all is their number in a complete probe.
func (p *probe) report(all int) Report {
	r := Report{
		Reachable: Finding{True, ReasonReachable, "The storage answers and accepts the credentials."},
		Writable:  Finding{True, ReasonWritable, "Objects can be stored, read back unchanged, and deleted."},
		Steps:     p.steps,
	}
	last := p.steps[len(p.steps)-1]
	if last.Err == nil && len(p.steps) == all {
		return r
	}
	if last.Verb == Delete && isDenied(last.Err) {
		r.Writable.Message = "Objects can be stored and read back unchanged; deleting them is denied."
		return r
	}
	broken := Finding{False, reasonOf(last.Err), fmt.Sprintf("%s: %s.", last.Verb, last.Err)}
	if errors.Is(last.Err, context.Canceled) {
		// A cancelled probe says nothing about the place.
		broken = Finding{Unknown, ReasonNotTried, "The probe was cancelled."}
	}
	if errors.Is(last.Err, storage.ErrUnreachable) {
		r.Reachable = broken
		r.Writable = Finding{Unknown, ReasonNotTried, "Writing was not fully tested, because the storage is unreachable."}
		return r
	}
	r.Writable = broken
	return r
}

// isDenied reports whether the place refuses the verb, and not the credentials.
func isDenied(err error) bool {
	return errors.Is(err, storage.ErrDenied) && storage.ReasonOf(err) == storage.ReasonAccessDenied
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
		return fmt.Errorf("%w: the stored object is missing", errContract)
	}
	if err == nil && info.Size != smallSize {
		return fmt.Errorf("%w: %d bytes were stored, but it reports %d", errContract, smallSize, info.Size)
	}
	return err
}

func (p *probe) get(ctx context.Context) error {
	r, _, err := p.store.Get(ctx, p.dual.SHA256, nil)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w: the stored object is missing", errContract)
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
		return fmt.Errorf("%w: the bytes read differ from those stored", errContract)
	}
	return nil
}

func (p *probe) remove(ctx context.Context) error {
	return p.store.Delete(ctx, p.dual.SHA256)
}

// cleanUpTime bounds the removal of the probe's object after its context has ended.
const cleanUpTime = 5 * time.Second

func (p *probe) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	p.store.Delete(ctx, p.dual.SHA256) //nolint:errcheck // 1 KiB below the probe prefix are harmless
}
