package probe_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/faulty"
	"github.com/coulomb/artifact-store/pkg/storage/mem"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// outcomes writes S, U or - (Unknown) for each result.
func outcomes(r probe.FullReport) string {
	var text strings.Builder
	for _, one := range r.Results {
		text.WriteString(map[storage.Support]string{storage.Supported: "S", storage.Unsupported: "U", storage.SupportUnknown: "-"}[one.Status])
	}
	return text.String()
}

func TestFull(t *testing.T) {
	t.Parallel()
	denied := &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonAccessDenied, Message: "access is denied; this needs s3:GetObject"}
	wrongKey := &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonSecretKeyWrong, Message: "the secret key is wrong"}
	refused := &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonConnectionRefused, Message: "the connection was refused"}
	failed := &storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonServerFailed, Message: "the server answered 500"}
	throttled := &storage.PlaceError{Kind: storage.ErrThrottled, Reason: storage.ReasonThrottled, Message: "fewer requests"}
	failing := func(err error) func(digest.Digest) error { return func(digest.Digest) error { return err } }
	putting := func(err error) func(storage.Source) error { return func(storage.Source) error { return err } }
	for _, test := range []struct {
		name     string
		faults   faulty.Faults
		want     string // put head get range list delete
		ok       bool
		complete bool
	}{
		{"well", faulty.Faults{}, "SSSSSS", true, true},
		{"a denied put does not stop the others", faulty.Faults{PutBefore: putting(denied)}, "U---SS", false, false},
		{"a denied get", faulty.Faults{Get: failing(denied)}, "SUUUSS", false, true},
		{"a denied delete", faulty.Faults{Delete: failing(denied)}, "SSSSSU", true, true},
		{"full", faulty.Faults{PutBefore: putting(storage.ErrFull)}, "U---SS", false, false},
		{"swallowed", faulty.Faults{Get: failing(storage.ErrNotFound)}, "SUUUSS", false, true},
		{"nobody listens", faulty.Faults{PutBefore: putting(refused)}, "------", false, false},
		{"a 500 to one verb", faulty.Faults{Get: failing(failed)}, "S---S-", false, false},
		{"a wrong key proves nothing", faulty.Faults{PutBefore: putting(wrongKey), Delete: failing(wrongKey)}, "----S-", false, false},
		{"slow down proves nothing", faulty.Faults{Delete: failing(throttled)}, "SSSSS-", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store := faulty.Wrap(mem.New())
			store.Set(test.faults)
			r := probe.Full(t.Context(), store, false)
			if got := outcomes(r); got != test.want || r.OK() != test.ok || r.Complete() != test.complete {
				t.Errorf("%s, ok %v, complete %v; want %s, %v, %v: %+v", got, r.OK(), r.Complete(), test.want, test.ok, test.complete, r)
			}
			for _, one := range r.Results {
				if why := one.Why(); (why == "") != (one.Err == nil) || test.name == "swallowed" && one.Name == probe.Get && why != probe.ReasonContractBroken {
					t.Errorf("%s: %q says why: %v", one.Name, why, one.Err)
				}
				if one.Message == "" {
					t.Errorf("%s has no words", one.Name)
				}
			}
		})
	}
}

// TestFullReadsOnly writes nothing, and says so.
func TestFullReadsOnly(t *testing.T) {
	t.Parallel()
	store := faulty.Wrap(mem.New())
	r := probe.Full(t.Context(), store, true)
	if got := outcomes(r); got != "----S-" || store.Calls().Put+store.Calls().Delete > 0 {
		t.Errorf("%s, %+v", got, store.Calls())
	}
}

// TestFullLeavesNothing even if bytes come back damaged or the caller cancels.
func TestFullLeavesNothing(t *testing.T) {
	t.Parallel()
	damaging := corrupting{faulty.Wrap(mem.New())}
	if got := outcomes(probe.Full(t.Context(), damaging, false)); got != "SSUUSS" {
		t.Errorf("damaged: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	leaving := faulty.Wrap(mem.New())
	leaving.Set(faulty.Faults{PutAfter: func(storage.Info) error { cancel(); return nil }})
	if got := outcomes(probe.Full(ctx, cancelled{leaving}, false)); got != "S-----" {
		t.Errorf("cancelled: %s", got)
	}
	for name, store := range map[string]storage.Store{"damaged": damaging, "cancelled": leaving} {
		for info := range store.List(t.Context()) {
			t.Errorf("%s left %v behind", name, info)
		}
	}
}

// cancelled fails reads once the context has ended, as a driver does.
type cancelled struct{ *faulty.Backend }

func (c cancelled) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	if ctx.Err() != nil {
		return storage.Info{}, fmt.Errorf("head: %w", ctx.Err())
	}
	return c.Backend.Head(ctx, name)
}

// offering offers trials of its own.
type offering struct {
	*mem.Backend
	trials []storage.Trial
}

func (o offering) Trials() []storage.Trial { return o.trials }

func TestTrials(t *testing.T) {
	t.Parallel()
	found := func(f storage.Found, err error) func(context.Context) (storage.Found, error) {
		return func(context.Context) (storage.Found, error) { return f, err }
	}
	store := offering{mem.New(), []storage.Trial{
		{Name: "multipart", Needed: true, Try: found(storage.Found{}, io.ErrUnexpectedEOF)},
		{Name: "storageClass", Try: found(storage.Found{Status: storage.Unsupported, Message: "refused", Reason: storage.ReasonClassRefused}, nil)},
		{Name: "clockSkew", Try: found(storage.Found{Status: storage.Supported, Message: "agree", Detail: "1 s"}, nil)},
	}}
	r := probe.Full(t.Context(), store, false)
	if got := outcomes(r); got != "SSSSSS-US" || r.OK() || r.Complete() {
		t.Errorf("%s: %+v", got, r)
	}
	if refused, ok := r.Refused(); !ok || refused.Name != "storageClass" || refused.Reason != storage.ReasonClassRefused {
		t.Errorf("%+v, %v", refused, ok)
	}
	if last := r.Results[8]; last.Detail != "1 s" || last.Message != "agree" {
		t.Errorf("%+v", last)
	}
}
