package probe_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/faulty"
	"github.com/coulomb/artifact-store/pkg/storage/mem"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

func verbs(r probe.Report) string {
	var names []string
	for _, step := range r.Steps {
		names = append(names, step.Verb)
	}
	return strings.Join(names, " ")
}

func TestSmall(t *testing.T) {
	t.Parallel()
	denied := &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonAccessDenied, Message: "access is denied"}
	refused := &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonConnectionRefused, Message: "the connection was refused"}
	failing := func(err error) func(digest.Digest) error { return func(digest.Digest) error { return err } }
	for _, test := range []struct {
		name                string
		faults              faulty.Faults
		reachable, writable probe.Status
		reason              string // of the finding that is False
		steps               string
	}{
		{"well", faulty.Faults{}, probe.True, probe.True, "", "put get delete"},
		{"read-only", faulty.Faults{PutBefore: func(storage.Source) error { return denied }},
			probe.True, probe.False, storage.ReasonAccessDenied, "put"},
		{"full", faulty.Faults{PutBefore: func(storage.Source) error { return storage.ErrFull }},
			probe.True, probe.False, storage.ReasonFull, "put"},
		{"refused", faulty.Faults{PutBefore: func(storage.Source) error { return refused }},
			probe.False, probe.Unknown, storage.ReasonConnectionRefused, "put"},
		{"swallows", faulty.Faults{Get: failing(storage.ErrNotFound)},
			probe.True, probe.False, probe.ReasonContractBroken, "put get"},
		{"no delete", faulty.Faults{Delete: failing(denied)},
			probe.True, probe.True, "", "put get delete"},
		{"cancelled", faulty.Faults{PutBefore: func(storage.Source) error { return context.Canceled }},
			probe.True, probe.Unknown, "", "put"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store := faulty.Wrap(mem.New())
			store.Set(test.faults)
			r := probe.Small(t.Context(), store)
			if r.Reachable.Status != test.reachable || r.Writable.Status != test.writable {
				t.Errorf("%+v", r)
			}
			if r.OK() != (test.writable == probe.True) || (r.Err() == nil) != r.OK() {
				t.Errorf("OK %v, %v", r.OK(), r.Err())
			}
			for _, finding := range []probe.Finding{r.Reachable, r.Writable} {
				if finding.Reason == "" || finding.Message == "" {
					t.Errorf("a finding without words: %+v", finding)
				}
				if finding.Status == probe.False && finding.Reason != test.reason {
					t.Errorf("reason %s, want %s", finding.Reason, test.reason)
				}
			}
			if got := verbs(r); got != test.steps {
				t.Errorf("tried %s", got)
			}
		})
	}
}

// corrupting damages everything that is read.
type corrupting struct{ *faulty.Backend }

func (c corrupting) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	info, err := c.Backend.Put(ctx, src)
	c.Set(faulty.Faults{Corrupt: map[digest.Digest]bool{info.Digests.SHA256: true}})
	return info, err
}

// TestOtherBytes: the place returns bytes other than those stored.
func TestOtherBytes(t *testing.T) {
	t.Parallel()
	store := corrupting{faulty.Wrap(mem.New())}
	r := probe.Small(t.Context(), store)
	if r.Writable.Status != probe.False || r.Writable.Reason != probe.ReasonContractBroken {
		t.Errorf("%+v", r.Writable)
	}
	for info := range store.List(t.Context()) {
		t.Errorf("left behind: %v", info)
	}
}

// TestOverdue: the end of the probe's own deadline is a finding about the place.
func TestOverdue(t *testing.T) {
	t.Parallel()
	store := faulty.Wrap(mem.New())
	timedOut := &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonTimedOut,
		Message: "no answer", Cause: context.DeadlineExceeded}
	store.Set(faulty.Faults{PutBefore: func(storage.Source) error { return fmt.Errorf("put: %w", timedOut) }})
	r := probe.Small(t.Context(), store)
	if r.Reachable.Status != probe.False || r.Reachable.Reason != storage.ReasonTimedOut || !errors.Is(r.Err(), context.DeadlineExceeded) {
		t.Errorf("%+v", r)
	}
}
