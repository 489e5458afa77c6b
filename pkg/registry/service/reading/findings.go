package reading

import (
	"context"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
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
		if last, found := r.counted.Load(id); found && last.(counted).when == now.when {
			now = last.(counted)
			return nil
		}
		now.findings, err = findingsTx(ctx, tx, id)
		return err
	})
	if err != nil {
		return registrar.Findings{}, err
	}
	r.counted.Store(id, now)
	now.findings.Failures = slices.Clone(now.findings.Failures)
	return now.findings, nil
}

func findingsTx(ctx context.Context, tx database.Tx, id string) (registrar.Findings, error) {
	f, err := view.FindFindings(ctx, tx, id)
	if err != nil {
		return registrar.Findings{}, err
	}
	answer := registrar.Findings{
		Live: f.Live, Failed: f.Corrupt + f.Missing, Corrupt: f.Corrupt, Missing: f.Missing, Abandoned: f.Abandoned, LastVerified: f.Newest,
		WaitingSince: f.OldestLive,
	}
	if f.NeverChecked == 0 {
		answer.OldestVerified = f.Oldest
	}
	if f.FirstUnchecked != 0 {
		stored, err := eventlog.TimeTx(ctx, tx, f.FirstUnchecked)
		if err != nil {
			return registrar.Findings{}, err
		}
		if answer.WaitingSince.IsZero() || stored.Before(answer.WaitingSince) {
			answer.WaitingSince = stored
		}
	}
	if answer.Failed == 0 {
		return answer, nil
	}
	answer.Failures, err = view.ListFailed(ctx, tx, id, registrar.MaxFailures)
	return answer, err
}
