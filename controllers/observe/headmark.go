package observe

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// markHead compares the head mark of a place that is ours with the log, and
// moves it if it is time. It returns nil if the mark could not be compared for a
// reason that may be over by the next look, or that another condition tells. A
// place that has just not answered is not asked. d.mu is held.
func (o *Observer) markHead(ctx context.Context, d *driver, sb *v1alpha1.StorageBackend, wrong *declared.Problem) *status.HeadMark {
	if wrong != nil && wrong.Lost {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	owner := registrar.Owner{BackendID: d.id, Name: sb.Name, Place: d.config.Place()}
	err := o.registrar.MarkHead(ctx, owner, d.store, headMarkEvery(sb, wrong))
	var older *registrar.MarkerError
	switch {
	case errors.As(err, &older) && errors.Is(err, registrar.ErrOlderLog):
		return &status.HeadMark{Older: older.Message}
	case err != nil:
		if p := placeProblem(v1alpha1.ConditionLogCurrent, err); wrong == nil && !p.Lost {
			return &status.HeadMark{Unknown: p}
		}
		return nil
	}
	return &status.HeadMark{}
}

// headMarkEvery is how often a mark is written: never where nothing is written
// or just now cannot be, and once a day where nothing can be deleted.
func headMarkEvery(sb *v1alpha1.StorageBackend, wrong *declared.Problem) time.Duration {
	if sb.Spec.Access == v1alpha1.ReadOnly || sb.Spec.Probe.Suspend || wrong != nil {
		return registrar.CompareOnly
	}
	if slices.ContainsFunc(sb.Status.Capabilities, func(c v1alpha1.Capability) bool {
		return c.Name == probe.Delete && c.Status == string(storage.Unsupported)
	}) {
		return registrar.HeadMarkIntervalKept
	}
	return registrar.HeadMarkInterval
}
