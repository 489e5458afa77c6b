package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Result is what became of one verb or feature.
type Result struct {
	storage.Capability
	// Needed: a place that cannot do it is of no use for new blobs.
	Needed bool
	// Detail is what was measured, in words; "" for nothing.
	Detail string
	Took   time.Duration
	// Err is what failed; nil also where the place answered well and cannot do it.
	Err error
	// Reason is set where the place refuses what every put asks of it.
	Reason string
}

// Why names what failed as a condition does; "" where nothing did.
func (r Result) Why() string {
	switch {
	case r.Reason != "":
		return r.Reason
	case r.Err != nil:
		return reasonOf(r.Err)
	}
	return ""
}

// FullReport is what Full found, in the order in which it was tried.
type FullReport struct {
	Results []Result
}

// OK reports whether all that new blobs need is supported.
func (r FullReport) OK() bool {
	return !slices.ContainsFunc(r.Results, func(one Result) bool { return one.Needed && one.Status != storage.Supported })
}

// Refused returns the result of what the place refuses although every put
// asks for it (a storage class, encryption); ok is false if there is none.
func (r FullReport) Refused() (refused Result, ok bool) {
	i := slices.IndexFunc(r.Results, func(one Result) bool { return one.Reason != "" })
	if i < 0 {
		return Result{}, false
	}
	return r.Results[i], true
}

// Complete reports whether everything got an answer. What is Unknown because
// nothing was there to try does not count against it.
func (r FullReport) Complete() bool {
	return !slices.ContainsFunc(r.Results, func(one Result) bool { return one.Status == storage.SupportUnknown && one.Err != nil })
}

// trying is implemented by stores that can be tried at more than a Store's verbs.
type trying interface {
	Trials() []storage.Trial
}

// Names of the capabilities that every store is tried at. Those of a driver's
// trials are its own.
const (
	Put    = "put"
	Head   = "head"
	Get    = "get"
	Range  = "range"
	List   = "list"
	Delete = "delete"
)

// maxListed bounds what is read of a list, in blobs: what others left below
// the probe prefix.
const maxListed = 10_000

// Full tries every verb apart and whatever the driver offers besides, and goes
// on after a failure: a verb that is denied says nothing about another. Only
// where the place does not answer at all is the rest not tried.
//
// store should be one below the probe prefix (backends.Config.ForProbe), which
// is left as it was, also when the probe fails or ctx ends, as far as the
// place lets it. Where readOnly is set nothing is written. It needs a few
// requests and no memory of the process's budget beside what store has.
func Full(ctx context.Context, store storage.Store, readOnly bool) FullReport {
	f := &full{probe: probe{store: store, data: make([]byte, smallSize)}, readOnly: readOnly}
	rand.Read(f.data) //nolint:errcheck // never fails, by its contract
	f.dual = digest.Of(f.data)
	f.verbs(ctx)
	if more, ok := store.(trying); ok {
		for _, trial := range more.Trials() {
			f.try(ctx, attempt{trial.Name, trial.Needed, trial.Writes, trial.Try})
		}
	}
	return FullReport{f.results}
}

type full struct {
	probe
	readOnly bool
	results  []Result
	// gone is why nothing more is tried.
	gone error
}

type attempt struct {
	name           string
	needed, writes bool
	try            func(context.Context) (storage.Found, error)
}

func (f *full) verbs(ctx context.Context) {
	found := func(do func(context.Context) error, words string) func(context.Context) (storage.Found, error) {
		return func(ctx context.Context) (storage.Found, error) {
			return storage.Found{Status: storage.Supported, Message: words}, do(ctx)
		}
	}
	f.try(ctx, attempt{Put, true, true, found(f.put, "1 KiB was put")})
	stored := f.results[0].Status == storage.Supported
	for _, reading := range []attempt{
		{Head, true, true, found(f.head, "what was put is described")},
		{Get, true, true, found(f.get, "what was put came back the same")},
		{Range, false, true, found(f.part, "a part of what was put came back the same")},
		{List, true, false, found(f.list(stored), "what was put is listed")},
	} {
		if reading.name != List && !stored && !f.readOnly && f.gone == nil {
			f.add(reading, unknown("not tried: nothing could be put"), 0, errNothingPut)
			continue
		}
		if reading.name == List && !stored {
			reading.try = found(f.list(false), "the place lists what it holds")
		}
		f.try(ctx, reading)
	}
	f.try(ctx, attempt{Delete, true, true, found(f.removed(stored), "what was put is gone")})
	if last := f.results[len(f.results)-1]; !f.readOnly && last.Status == storage.SupportUnknown {
		f.cleanUp(ctx) // Delete was not come to, or nobody knows what became of it
	}
}

var errNothingPut = errors.New("nothing could be put")

func unknown(format string, args ...any) storage.Found {
	return storage.Found{Status: storage.SupportUnknown, Message: fmt.Sprintf(format, args...)}
}

// try makes one attempt, unless it would be in vain or must not be.
func (f *full) try(ctx context.Context, a attempt) {
	switch {
	case f.gone != nil:
		f.add(a, unknown("not tried: %s", f.gone), 0, f.gone)
		return
	case a.writes && f.readOnly:
		f.add(a, unknown("not tried: nothing is written to a read-only backend"), 0, nil)
		return
	}
	began := time.Now()
	found, err := a.try(ctx)
	took := time.Since(began)
	if err != nil {
		found = storage.Found{Status: statusOf(err), Message: err.Error(), Detail: found.Detail}
		if absent(ctx, err) {
			f.gone = err
		}
	}
	f.add(a, found, took, err)
}

func (f *full) add(a attempt, found storage.Found, took time.Duration, err error) {
	f.results = append(f.results, Result{
		Capability: storage.Capability{Name: a.name, Status: found.Status, Message: clipped(found.Message)},
		Needed:     a.needed, Detail: found.Detail, Took: took, Err: err, Reason: found.Reason,
	})
}

// maxMessage bounds a message in bytes; the words of drivers are shorter, names
// of buckets and hosts in them may be long.
const maxMessage = 512

func clipped(message string) string {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "")
	}
	return message
}

// statusOf says what a failed request proves: a place that answered no cannot
// do it, or not for us. One that did not answer, or not to these credentials, was not tried.
func statusOf(err error) storage.Support {
	denied := errors.Is(err, storage.ErrDenied) && storage.ReasonOf(err) != storage.ReasonAccessDenied
	unable := errors.Is(err, storage.ErrUnreachable) && storage.ReasonOf(err) != storage.ReasonDamagedInTransit
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if denied || unable || ended || errors.Is(err, storage.ErrThrottled) || errors.Is(err, storage.ErrNoPlace) || storage.ReasonOf(err) == storage.ReasonUnknown && !errors.Is(err, errContract) {
		return storage.SupportUnknown
	}
	return storage.Unsupported
}

// absent reports whether trying anything else would only wait in vain. A server
// that fails (5xx) or throttles one request may take the next.
func absent(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	answered := []string{storage.ReasonServerFailed, storage.ReasonDamagedInTransit, storage.ReasonConnectionLost}
	return errors.Is(err, storage.ErrUnreachable) && !slices.Contains(answered, storage.ReasonOf(err))
}

// part reads the middle of what was put.
func (f *full) part(ctx context.Context) error {
	rng := storage.Range{Offset: smallSize / 4, Length: smallSize / 2}
	r, _, err := f.store.Get(ctx, f.dual.SHA256, &rng)
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
	if !bytes.Equal(back, f.data[rng.Offset:rng.Offset+rng.Length]) {
		return fmt.Errorf("%w: other bytes came back than were put", errContract)
	}
	return nil
}

// list looks for what was put, or only whether listing is allowed.
func (f *full) list(stored bool) func(context.Context) error {
	return func(ctx context.Context) error {
		seen := 0
		for info, err := range f.store.List(ctx) {
			if err != nil {
				return err
			}
			if !stored || info.Digests.SHA256 == f.dual.SHA256 {
				return nil
			}
			if seen++; seen == maxListed {
				return nil // it lists; what others left hides ours
			}
		}
		if stored {
			return fmt.Errorf("%w: what was put is not listed", errContract)
		}
		return nil
	}
}

// removed deletes what was put and looks whether it is gone. Where nothing was
// put, deleting what is missing shows whether it is allowed.
func (f *full) removed(stored bool) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f.remove(ctx); err != nil || !stored {
			return err
		}
		_, err := f.store.Head(ctx, f.dual.SHA256)
		if err == nil {
			return fmt.Errorf("%w: what was deleted is still there", errContract)
		}
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDenied) {
			return nil // without the right to look, the answer to Delete has to do
		}
		return err
	}
}
