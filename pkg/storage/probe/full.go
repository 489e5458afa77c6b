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

// Result is the result of testing one verb or feature.
type Result struct {
	storage.Capability
	// Needed: new blobs require it.
	Needed bool
	// Detail is a measurement in words; may be empty.
	Detail string
	Took   time.Duration
	// Err is the failure. It is nil if the place answered that it lacks the feature.
	Err error
	// Reason is set if the place refuses what every put requests.
	Reason string

	stays bool
}

// Why returns the reason of the failure as a condition shows it, or "".
func (r Result) Why() string {
	switch {
	case r.Reason != "":
		return r.Reason
	case r.Err != nil:
		return reasonOf(r.Err)
	}
	return ""
}

// FullReport holds the results of Full, in the order of the tests.
type FullReport struct {
	Results []Result
}

// OK reports whether everything that new blobs need is supported.
func (r FullReport) OK() bool {
	return !slices.ContainsFunc(r.Results, func(one Result) bool { return one.Needed && one.Status != storage.Supported })
}

// Refused returns the result of a feature that every put requests and the place
// refuses (a storage class, encryption); ok is false if there is none.
func (r FullReport) Refused() (refused Result, ok bool) {
	i := slices.IndexFunc(r.Results, func(one Result) bool { return one.Reason != "" })
	if i < 0 {
		return Result{}, false
	}
	return r.Results[i], true
}

// Complete reports whether everything got an answer. A result that is Unknown
// because there was nothing to test does not count.
func (r FullReport) Complete() bool {
	return !slices.ContainsFunc(r.Results, func(one Result) bool { return one.Status == storage.SupportUnknown && one.Err != nil })
}

// trying is implemented by stores that offer tests beyond the verbs of a Store.
type trying interface {
	Trials() []storage.Trial
}

// Names of the capabilities tested on every store. The trials of a driver have
// names of their own.
const (
	Put    = "put"
	Head   = "head"
	Get    = "get"
	Range  = "range"
	List   = "list"
	Delete = "delete"
)

// ObjectLock is the name of the trial that tells whether objects are locked. If it
// finds that what is stored stays, Delete is Unsupported.
const ObjectLock = "objectLock"

// maxListed bounds how many blobs are read from a list that contains leftovers
// of others below the probe prefix.
const maxListed = 10_000

// Full tests every verb separately, and then the driver's own trials. It continues
// after a failure, because a denied verb says nothing about the others; only if the
// place does not answer at all are the remaining tests skipped.
//
// store should be below the probe prefix (backends.Config.ForProbe). Full deletes
// its objects even if it fails or ctx ends, if the place allows it. With readOnly
// it writes nothing. It needs a few requests, and no memory of the process's
// budget beyond that of store.
func Full(ctx context.Context, store storage.Store, readOnly bool) FullReport {
	f := &full{probe: probe{store: store, data: make([]byte, smallSize)}, readOnly: readOnly}
	rand.Read(f.data) //nolint:errcheck // never fails, by its contract
	return f.all(ctx)
}

// Sparing is Full for a place where nothing can be deleted: it writes one object,
// under the same key every time. Full and Sparing skip the trials that would leave
// more, once that is known.
func Sparing(ctx context.Context, store storage.Store) FullReport {
	f := &full{probe: probe{store: store, data: bytes.Repeat([]byte("artifact-store's probe. "), smallSize)[:smallSize]}, sparing: true}
	return f.all(ctx)
}

func (f *full) all(ctx context.Context) FullReport {
	f.dual = digest.Of(f.data)
	f.verbs(ctx)
	if more, ok := f.store.(trying); ok {
		for _, trial := range more.Trials() {
			last := f.results[len(f.results)-1]
			if f.sparing = f.sparing || last.stays || last.Name == Delete && isDenied(last.Err); f.sparing && trial.Writes {
				f.spare(ctx, trial)
				continue
			}
			f.try(ctx, attempt{trial.Name, trial.Needed, trial.Writes, trial.Try})
		}
	}
	f.locked()
	return FullReport{f.results}
}

// spare tries what leaves nothing behind.
func (f *full) spare(ctx context.Context, trial storage.Trial) {
	a := attempt{trial.Name, trial.Needed, true, trial.Sparing}
	if trial.Sparing != nil {
		f.try(ctx, a)
		return
	}
	f.add(a, unknown("not tested: what is written here stays"), 0, nil)
}

// locked makes Delete unsupported where objects are locked: a delete hides them only.
func (f *full) locked() {
	of := func(name string) int {
		return slices.IndexFunc(f.results, func(one Result) bool { return one.Name == name })
	}
	lock, removal := of(ObjectLock), of(Delete)
	if lock >= 0 && removal >= 0 && f.results[lock].stays {
		f.results[removal].Status = storage.Unsupported
		f.results[removal].Message = clipped("what is deleted stays in the bucket: " + f.results[lock].Message)
	}
}

type full struct {
	probe
	readOnly bool
	sparing  bool
	results  []Result
	// gone is why the remaining tests are skipped.
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
	f.try(ctx, attempt{Put, true, true, found(f.put, "1 KiB was stored")})
	stored := f.results[0].Status == storage.Supported
	for _, reading := range []attempt{
		{Head, true, true, found(f.head, "the stored object was found")},
		{Get, true, true, found(f.get, "the stored bytes were read back")},
		{Range, false, true, found(f.part, "a range of the stored bytes was read back")},
		{List, true, false, found(f.list(stored), "the stored object is listed")},
	} {
		if reading.name != List && !stored && !f.readOnly && f.gone == nil {
			f.add(reading, unknown("not tested: nothing could be stored"), 0, errNothingPut)
			continue
		}
		if reading.name == List && !stored {
			reading.try = found(f.list(false), "the place can be listed")
		}
		f.try(ctx, reading)
	}
	if f.sparing && f.gone == nil && f.locks(ctx) {
		// Even the delete of a missing object could leave a marker.
		f.add(attempt{Delete, false, true, nil}, storage.Found{Status: storage.Unsupported, Message: "the bucket locks each new object"}, 0, nil)
		return
	}
	if f.sparing {
		// The object stays; deleting one that is missing shows whether it is allowed.
		f.try(ctx, attempt{Delete, false, true, found(f.removedNothing, "an object that does not exist may be deleted")})
		return
	}
	f.try(ctx, attempt{Delete, false, true, found(f.removed(stored), "the stored object was deleted")})
	if last := f.results[len(f.results)-1]; !f.readOnly && last.Status == storage.SupportUnknown {
		f.cleanUp(ctx) // Delete was skipped, or its outcome is unknown
	}
}

var errNothingPut = errors.New("nothing could be stored")

func unknown(format string, args ...any) storage.Found {
	return storage.Found{Status: storage.SupportUnknown, Message: fmt.Sprintf(format, args...)}
}

// try makes one attempt, unless it is pointless or forbidden.
func (f *full) try(ctx context.Context, a attempt) {
	switch {
	case f.gone != nil:
		f.add(a, unknown("not tested: %s", f.gone), 0, f.gone)
		return
	case a.writes && f.readOnly:
		f.add(a, unknown("not tested: nothing is written to a read-only backend"), 0, nil)
		return
	}
	began := time.Now()
	found, err := a.try(ctx)
	took := time.Since(began)
	if err != nil {
		found = storage.Found{Status: statusOf(err), Message: err.Error(), Detail: found.Detail}
		if said := storage.SaidBy(err); said != "" {
			found.Detail = "the answer was: " + said
		}
		if absent(ctx, err) {
			f.gone = err
		}
	}
	f.add(a, found, took, err)
}

func (f *full) add(a attempt, found storage.Found, took time.Duration, err error) {
	f.results = append(f.results, Result{
		Capability: storage.Capability{Name: a.name, Status: found.Status, Message: clipped(found.Message)},
		Needed:     a.needed, Detail: found.Detail, Took: took, Err: err, Reason: found.Reason, stays: found.Stays,
	})
}

// maxMessage bounds a message in bytes. The text of drivers is shorter, but names
// of buckets and hosts in it may be long.
const maxMessage = 512

func clipped(message string) string {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "")
	}
	return message
}

// statusOf says what a failed request proves. A place that refused lacks the
// feature, or the permission. A place that gave no answer, or refused the
// credentials, was not tested.
func statusOf(err error) storage.Support {
	denied := errors.Is(err, storage.ErrDenied) && storage.ReasonOf(err) != storage.ReasonAccessDenied
	unable := errors.Is(err, storage.ErrUnreachable) && storage.ReasonOf(err) != storage.ReasonDamagedInTransit
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if denied || unable || ended || errors.Is(err, storage.ErrThrottled) || errors.Is(err, storage.ErrNoPlace) || storage.ReasonOf(err) == storage.ReasonUnknown && !errors.Is(err, errContract) {
		return storage.SupportUnknown
	}
	return storage.Unsupported
}

// absent reports whether further tests would only wait in vain. A server that
// fails (5xx) or throttles one request may accept the next.
func absent(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	answered := []string{storage.ReasonServerFailed, storage.ReasonDamagedInTransit, storage.ReasonConnectionLost}
	return errors.Is(err, storage.ErrUnreachable) && !slices.Contains(answered, storage.ReasonOf(err))
}

// part reads the middle of the stored object.
func (f *full) part(ctx context.Context) error {
	rng := storage.Range{Offset: smallSize / 4, Length: smallSize / 2}
	r, _, err := f.store.Get(ctx, f.dual.SHA256, &rng)
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
	if !bytes.Equal(back, f.data[rng.Offset:rng.Offset+rng.Length]) {
		return fmt.Errorf("%w: the bytes read differ from those stored", errContract)
	}
	return nil
}

// list looks for the stored object, or tests only whether listing is allowed.
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
				return nil // listing works; leftovers of others hide our object
			}
		}
		if stored {
			return fmt.Errorf("%w: the stored object is not listed", errContract)
		}
		return nil
	}
}

// locks reports whether the place says that it locks what is stored.
func (f *full) locks(ctx context.Context) bool {
	more, ok := f.store.(trying)
	if !ok {
		return false
	}
	for _, trial := range more.Trials() {
		if trial.Name == ObjectLock {
			found, err := trial.Try(ctx)
			return err == nil && found.Stays
		}
	}
	return false
}

// removedNothing deletes an object under a name that only this call knows.
func (f *full) removedNothing(ctx context.Context) error {
	name := make([]byte, smallSize)
	rand.Read(name) //nolint:errcheck // never fails, by its contract
	return f.store.Delete(ctx, digest.Of(name).SHA256)
}

// removed deletes the stored object and checks that it is gone. If nothing was
// stored, deleting a missing object shows whether deleting is allowed.
func (f *full) removed(stored bool) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f.remove(ctx); err != nil || !stored {
			return err
		}
		_, err := f.store.Head(ctx, f.dual.SHA256)
		if err == nil {
			return fmt.Errorf("%w: the deleted object still exists", errContract)
		}
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDenied) {
			return nil // without permission to check, the answer to Delete is all there is
		}
		return err
	}
}
