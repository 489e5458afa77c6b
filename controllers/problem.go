package controllers

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// Reasons of conditions that the controllers give; those of a driver pass
// through as storage.ReasonOf names them.
const (
	ReasonResolved        = "Resolved"
	ReasonNotNeeded       = "NotNeeded"
	ReasonAmbient         = "Ambient"
	ReasonSecretNotFound  = "SecretNotFound"
	ReasonKeyNotFound     = "SecretKeyNotFound"
	ReasonSecretNotRead   = "SecretNotRead"
	ReasonEnvNotSet       = "EnvNotSet"
	ReasonFileNotRead     = "FileNotRead"
	ReasonRefRefused      = "RefKindRefused"
	ReasonSecretRefused   = "SecretRefused"
	ReasonAmbientRefused  = "AmbientCredentialsRefused"
	ReasonInvalidEndpoint = "InvalidEndpoint"
	ReasonInvalidValue    = "InvalidValue"
	ReasonInvalidSpec     = "InvalidSpec"
	ReasonPathRefused     = "PathRefused"
	ReasonPlaceOverlaps   = "PlaceOverlaps"
	ReasonReached         = "Reached"
	ReasonForeignMarker   = "ForeignMarker"
	ReasonUnsupported     = "CapabilityUnsupported"
	ReasonNoMarker        = "NoMarker"
	ReasonNotRecorded     = "IdentityNotRecorded"
	ReasonProbed          = "Probed"
	ReasonReadOnly        = "ReadOnly"
	ReasonSuspended       = "ProbeSuspended"
	ReasonNotTried        = "NotTried"
	ReasonNothingStored   = "NothingStored"
	ReasonNeverVerified   = "NeverVerified"
	ReasonIntact          = "Intact"
	ReasonCorrupt         = "CorruptLocations"
	ReasonMissing         = "MissingLocations"
	ReasonNotFindable     = "FindingsNotRead"
	ReasonReady           = "Ready"
	ReasonFailedLocations = "ReadyWithFailedLocations"
	ReasonDeletionBlocked = "DeletionBlocked"
	ReasonLastGoodFailed  = "LastCredentialsFailed"
	ReasonAbandoned       = "LocationsAbandoned"
	ReasonTerminating     = "Terminating"
	ReasonNotObserved     = "NotObserved"

	ReasonScheduled             = "Scheduled"
	ReasonLastRunFailed         = "LastRunFailed"
	ReasonVerificationSuspended = "VerificationSuspended"
	ReasonVerificationOverdue   = "VerificationOverdue"
	ReasonScheduleInvalid       = "ScheduleInvalid"
	ReasonNoImage               = "NoImage"
	ReasonCronJobTaken          = "CronJobTaken"
	ReasonCronJobRefused        = "CronJobRefused"
)

// Problem is one thing wrong with a backend: which condition it breaks and why.
// Its text holds no secret.
type Problem struct {
	Condition, Reason, Message string
	// Lost: the place gave no answer. It may answer the next time, and one lost
	// probe says little; a place that answered no has spoken.
	Lost bool
}

func (p *Problem) Error() string { return p.Condition + ": " + p.Reason + ": " + p.Message }

func problem(condition, reason, format string, args ...any) *Problem {
	return &Problem{Condition: condition, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// placeProblem puts a driver's error into the words of a condition.
func placeProblem(condition string, err error) *Problem {
	p := &Problem{Condition: condition, Reason: storage.ReasonOf(err), Message: err.Error()}
	for _, lost := range []error{storage.ErrUnreachable, storage.ErrThrottled, context.DeadlineExceeded, context.Canceled} {
		p.Lost = p.Lost || errors.Is(err, lost)
	}
	// A server that fails (5xx) or a fault that nobody knows may be over the next time too.
	p.Lost = p.Lost || p.Reason == storage.ReasonServerFailed || p.Reason == storage.ReasonUnknown
	return p
}

// probeProblem is the finding of a probe that was not all well, else nil.
func probeProblem(report probe.Report) *Problem {
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
func identityProblem(err error) *Problem {
	if errors.Is(err, registrar.ErrForeignMarker) || errors.Is(err, registrar.ErrNoMarker) {
		return problem(v1alpha1.ConditionWritable, ReasonForeignMarker, "%s", err)
	}
	p := placeProblem(v1alpha1.ConditionWritable, err)
	if p.Reason == storage.ReasonUnknown {
		// Not the place's fault: the database could not record the identity.
		return &Problem{Condition: v1alpha1.ConditionWritable, Reason: ReasonNotRecorded, Message: "the backend's identity could not be recorded in the log", Lost: true}
	}
	return p
}
