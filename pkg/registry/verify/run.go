package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Ledger says what should be in a backend and takes what was found: a
// registry, in this process or another. A run may list and record at once.
type Ledger interface {
	// List returns a page of the locations, the one verified longest ago first
	// and those never verified before all. after is "" at first, then the Next
	// of the page before. Locations of which something was found after the
	// first page was listed do not come again, so it ends. failed lists only
	// those whose last finding is a failure.
	List(ctx context.Context, failed bool, after string) (Page, error)
	// Record takes findings. What no longer holds, because the location changed
	// or was checked since found.Position, is dropped without an error, so
	// the same findings may be recorded again.
	Record(ctx context.Context, found Found) error
}

// Page is part of a listing.
type Page struct {
	// Position of the log when it was listed.
	Position uint64 `json:"position"`
	// AsOf is the time of the last finding then, of any location of the backend.
	AsOf time.Time `json:"asOf,omitzero"`
	// Objects and Bytes of all locations of the listing; on the first page only.
	Objects   int64      `json:"objects,omitempty"`
	Bytes     int64      `json:"bytes,omitempty"`
	Locations []Location `json:"locations"`
	Next      string     `json:"next,omitempty"` // "" at the end
}

// Location is one blob that should be in the backend.
type Location struct {
	Want
	// Verified is when something was last found of it; zero if never.
	Verified time.Time `json:"verified,omitzero"`
}

// Found are what was found of some locations.
type Found struct {
	// Run names the run that they are part of: the registry makes one event of
	// it. "" if they are a run of their own.
	Run string `json:"run,omitempty"`
	// End: these are the run's last, or there are no more. A run that is
	// interrupted without it is ended by the registry, after a while.
	End bool `json:"end,omitempty"`
	// Position of the page on which the locations were listed; of several
	// pages, the least.
	Position uint64 `json:"position"`
	// AsOf is that page's, if it had one: what was found after it supersedes these.
	AsOf time.Time `json:"asOf,omitempty,omitzero"`
	// Verified are the SHA-256 of blobs found right, at most MaxVerified.
	Verified []digest.Digest `json:"verified,omitempty"`
	// Failed are at most MaxFailed.
	Failed []FailedLocation `json:"failed,omitempty"`
	// Unreadable are at most MaxFailed locations that could not be read although the
	// place answered: nothing is known about their bytes, and they do not fail.
	Unreadable []UnreadableLocation `json:"unreadable,omitempty"`
}

// UnreadableLocation is a blob that could not be read.
type UnreadableLocation struct {
	SHA256 digest.Digest `json:"sha256"`
	Detail string        `json:"detail,omitempty"`
}

// FailedLocation is a blob that was found corrupt or missing in a backend. It is
// the one type for that; what is kept in a log (event.LocationFailed) and in a
// kind (v1alpha1.FailedLocation) are those formats' own.
type FailedLocation struct {
	SHA256 digest.Digest `json:"sha256"`
	Reason string        `json:"reason"` // corrupt or missing
	Detail string        `json:"detail,omitempty"`
}

// Report is how far a run has come, or what it found.
type Report struct {
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	Mode      Mode   `json:"mode"`
	// Objects and Bytes that the log says are there (with Mode Failed: that
	// failed before). A rolling run reads only a share of them.
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Checked so far, and what became of them.
	CheckedObjects int64 `json:"checkedObjects"`
	CheckedBytes   int64 `json:"checkedBytes"`
	Verified       int64 `json:"verified"`
	Corrupt        int64 `json:"corrupt"`
	Missing        int64 `json:"missing"`
	// Unreachable could not be read: nothing is known about their bytes.
	Unreachable int64 `json:"unreachable"`
	// Failed lists the first 100 corrupt or missing blobs.
	Failed []FailedLocation `json:"failed,omitempty"`
	// Done: it tried everything that it was to read, or what it could before its
	// time limit.
	Done bool `json:"done"`
	// TimeLimitReached: there was more to read.
	TimeLimitReached bool `json:"timeLimitReached,omitempty"`
	// Error says why an unfinished run ended.
	Error string `json:"error,omitempty"`
}

// Task is what a run works with.
type Task struct {
	Ledger Ledger
	Source Source
	// Same fails unless the place still is the backend that the ledger speaks
	// of. It is asked before the run, and before anything is called damaged:
	// what is missing from another place says nothing about this one.
	Same func(ctx context.Context) error
	// Report to begin with: the names in it are kept.
	Report  Report
	Options Options
	// Progress receives what was found, and Unread what could not be read; both
	// may be nil. They are called from one goroutine.
	Progress func(Report)
	Unread   func(Result)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Run reads what the ledger lists and records what it finds, also when it ends
// early: what was found by then stands. An error means that it did not look at
// all that it was to look at, or at nothing although there was something.
func Run(ctx context.Context, t Task) (Report, error) {
	if t.Now == nil {
		t.Now = time.Now
	}
	t.Options = t.Options.withDefaults()
	r := &run{Task: t, report: t.Report, began: t.Now(), id: uuid.NewString()}
	r.report.Mode = t.Options.Mode
	err := t.Options.Validate()
	if err == nil {
		err = t.Same(ctx)
	}
	if err == nil {
		err = r.all(ctx)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		err = errors.Join(err, r.end(last))
	}
	if err != nil {
		r.report.Error = err.Error()
	} else {
		r.report.Done = true
	}
	r.tell()
	return r.report, err
}

// run is one run. Its fields belong to the goroutine that collects, but for
// the Task, which does not change.
type run struct {
	Task
	began    time.Time
	id       string
	report   Report
	pending  Found // not recorded yet
	unread   Found // likewise, what could not be read
	recorded bool  // something was
}

// item is a location on its way, with when its page was listed.
type item struct {
	Location
	listed
}

type listed struct {
	position uint64
	asOf     time.Time
}

type outcome struct {
	Result
	listed
}

// all has everything read that the plan takes.
func (r *run) all(ctx context.Context) error {
	first, err := r.Ledger.List(ctx, r.Options.Mode == Failed, "")
	if err != nil {
		return fmt.Errorf("list what to read: %w", err)
	}
	r.report.Objects, r.report.Bytes = first.Objects, first.Bytes
	r.tell()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, limited := make(chan item), false
	go func() {
		defer close(work)
		var err error
		if limited, err = r.feed(ctx, first, work); err != nil {
			cancel(err)
		}
	}()
	if err := r.collect(ctx, cancel, r.read(ctx, work)); err != nil {
		return err
	}
	r.report.TimeLimitReached = limited // the channels' ends order this behind the feeder's end
	switch {
	case r.report.CheckedObjects > 0 || r.report.Objects == 0:
		return nil
	case r.report.Unreachable > 0:
		return fmt.Errorf("%w: none of %d objects could be read", storage.ErrUnreachable, r.report.Unreachable)
	}
	return fmt.Errorf("no object was read, although there should be %d", r.report.Objects)
}

// feed gives out what the plan takes, until the time limit.
func (r *run) feed(ctx context.Context, page Page, work chan<- item) (limited bool, err error) {
	var limit <-chan time.Time
	if r.Options.TimeLimit > 0 {
		timer := time.NewTimer(r.Options.TimeLimit)
		defer timer.Stop()
		limit = timer.C
	}
	for plan := newPlan(r.Options, r.began, page.Objects, page.Bytes); ; {
		for _, l := range page.Locations {
			if !plan.takes(l) {
				return false, nil
			}
			select {
			case work <- item{l, listed{page.Position, page.AsOf}}:
			case <-limit:
				return true, nil
			case <-ctx.Done():
				return false, nil
			}
		}
		if page.Next == "" {
			return false, nil
		}
		if page, err = r.Ledger.List(ctx, r.Options.Mode == Failed, page.Next); err != nil {
			return false, fmt.Errorf("list what to read: %w", err)
		}
	}
}

// read reads what comes, some at a time, in no certain order.
func (r *run) read(ctx context.Context, work <-chan item) <-chan outcome {
	results := make(chan outcome)
	limiter := newLimiter(r.Options.Bandwidth)
	var readers sync.WaitGroup
	for range r.Options.Concurrency {
		readers.Go(func() {
			for next := range work {
				results <- outcome{Object(ctx, r.Source, next.Want, limiter), next.listed}
			}
		})
	}
	go func() {
		readers.Wait()
		close(results)
	}()
	return results
}

// collect takes every result, and ends the run where one is reason to.
func (r *run) collect(ctx context.Context, cancel context.CancelCauseFunc, results <-chan outcome) error {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		var err error
		select {
		case result, more := <-results:
			if !more {
				return context.Cause(ctx)
			}
			// A read that the end of ctx interrupted is not a finding.
			if ctx.Err() == nil {
				err = r.found(ctx, result)
			}
		case <-tick.C:
			if ctx.Err() == nil {
				err = r.flush(ctx)
			}
		}
		if err != nil {
			cancel(err)
		}
	}
}

func (r *run) tell() {
	if r.Progress != nil {
		r.Progress(r.report)
	}
}
