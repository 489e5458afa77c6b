package observe

import (
	"context"
	"errors"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// placeProblem puts a driver's error into the words of a condition.
func placeProblem(condition string, err error) *declared.Problem {
	p := &declared.Problem{Condition: condition, Reason: storage.ReasonOf(err), Message: err.Error()}
	for _, lost := range []error{storage.ErrUnreachable, storage.ErrThrottled, context.DeadlineExceeded, context.Canceled} {
		p.Lost = p.Lost || errors.Is(err, lost)
	}
	// A server that fails (5xx) or a fault that nobody knows may be over the next time too.
	p.Lost = p.Lost || p.Reason == storage.ReasonServerFailed || p.Reason == storage.ReasonUnknown
	return p
}

// probeProblem is the finding of a probe that was not all well, else nil.
func probeProblem(report probe.Report) *declared.Problem {
	if report.OK() {
		return nil
	}
	condition, finding := v1alpha1.ConditionWritable, report.Writable
	if report.Reachable.Status != probe.True {
		condition, finding = v1alpha1.ConditionReachable, report.Reachable
	}
	p := placeProblem(condition, report.Err())
	p.Reason, p.Message = finding.Reason, finding.Message
	p.Lost = p.Lost && p.Reason != probe.ReasonContractBroken
	return p
}

// identityProblem is why the marker could not be matched with the log.
func identityProblem(err error) *declared.Problem {
	if errors.Is(err, registrar.ErrForeignMarker) || errors.Is(err, registrar.ErrNoMarker) {
		return declared.Problemf(v1alpha1.ConditionWritable, status.ReasonForeignMarker, "%s", err)
	}
	p := placeProblem(v1alpha1.ConditionWritable, err)
	if errors.Is(err, registrar.ErrNotRecorded) || p.Reason == storage.ReasonUnknown {
		// Not the place's fault: the database could not record the identity.
		return &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: status.ReasonNotRecorded, Message: "the backend's identity could not be recorded in the log", Lost: true}
	}
	return p
}
