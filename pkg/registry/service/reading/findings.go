package reading

import (
	"context"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// counted are findings, and when they were counted.
type counted struct {
	when
	findings registrar.Findings
}

// when is a state of the views.
type when struct {
	head       eventlog.Head
	generation int64     // a rebuild may mend rows, and logs nothing
	checked    time.Time // a location that is found as it was is no event
	doubts     doubt.Counts
}

// Findings implements registrar.Registrar. Counting reads every location of the
// backend, so it is done only when something was logged since the last time.
func (r *Reader) Findings(ctx context.Context, id string) (registrar.Findings, error) {
	if id == "" {
		return registrar.Findings{}, nil
	}
	var now counted
	err := r.core.Read(ctx, func(tx database.Tx) error {
		var err error
		if now.head, err = eventlog.HeadTx(ctx, tx); err != nil {
			return err
		}
		if now.generation, err = view.Generation(ctx, tx); err != nil {
			return err
		}
		if now.checked, err = view.LastChecked(ctx, tx, id); err != nil {
			return err
		}
		if now.doubts, err = doubt.Count(ctx, tx, id); err != nil {
			return err
		}
		if last, found := r.counted.Load(id); found && last.(counted).when == now.when {
			now = last.(counted)
			return nil
		}
		now.findings, err = findingsTx(ctx, tx, id, now.doubts)
		return err
	})
	if err != nil {
		return registrar.Findings{}, err
	}
	r.counted.Store(id, now)
	now.findings.Failures = slices.Clone(now.findings.Failures)
	return now.findings, nil
}

// InUse implements registrar.Registrar.
func (r *Reader) InUse(ctx context.Context, ids []string) (used []string, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = r.core.Read(ctx, func(tx database.Tx) error {
		used, err = view.ListInUse(ctx, tx, ids)
		return err
	})
	return used, err
}

func findingsTx(ctx context.Context, tx database.Tx, id string, doubts doubt.Counts) (registrar.Findings, error) {
	f, err := view.FindFindings(ctx, tx, id)
	if err != nil {
		return registrar.Findings{}, err
	}
	answer := registrar.Findings{
		Live: f.Live, Failed: f.Corrupt + f.Missing, Corrupt: f.Corrupt, Missing: f.Missing, Abandoned: f.Abandoned, LastVerified: f.Newest,
		WaitingSince: f.OldestLive, Unreadable: doubts.Unreadable, Suspect: doubts.Suspect,
	}
	if f.NeverChecked == 0 {
		answer.OldestVerified = f.Oldest
	}
	// What could not be read was not verified, however often it was tried.
	waits := func(since time.Time) {
		if !since.IsZero() && (answer.WaitingSince.IsZero() || since.Before(answer.WaitingSince)) {
			answer.WaitingSince = since
		}
	}
	waits(doubts.Verified)
	if !doubts.Verified.IsZero() && doubts.Verified.Before(answer.OldestVerified) {
		answer.OldestVerified = doubts.Verified
	}
	if doubts.FirstUnverified != 0 {
		answer.OldestVerified = time.Time{}
	}
	for _, never := range []uint64{f.FirstUnchecked, doubts.FirstUnverified} {
		if never == 0 {
			continue
		}
		stored, err := eventlog.TimeTx(ctx, tx, never)
		if err != nil {
			return registrar.Findings{}, err
		}
		waits(stored)
	}
	if answer.Failed == 0 {
		return answer, nil
	}
	answer.Failures, err = view.ListFailed(ctx, tx, id, registrar.MaxFailures)
	return answer, err
}
