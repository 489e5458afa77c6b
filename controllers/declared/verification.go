package declared

import (
	"cmp"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// The defaults of spec.verification, as the schema has them.
const (
	defaultRollingPeriod           = 720 * time.Hour
	DefaultVerificationConcurrency = 4
	DefaultDeadline                = 6 * time.Hour
)

// DeadlineGrace is how long what is under way at a run's deadline may go on:
// 90 GB at 100 MB/s.
const DeadlineGrace = 15 * time.Minute

// Verification is one run as a backend declares it.
type Verification struct {
	Rolling bool
	// RollingPeriod and RollingInterval are for Rolling; the interval is the
	// longest time between two runs of the schedule.
	RollingPeriod, RollingInterval time.Duration
	Concurrency                    int
	Bandwidth                      int64 // bytes per second; 0 has no bound
	// Deadline: then nothing more is begun. DeadlineGrace later it is broken off.
	Deadline time.Duration
}

// Plan is what spec.verification says, with its defaults.
type Plan struct {
	Verification
	Schedule Schedule
	// suspended says why no run is begun; "" if they are.
	Suspended string
}

// PlanVerification reads sb's spec.verification, which is set. Errors name the field below spec.
func PlanVerification(sb *v1alpha1.StorageBackend) (Plan, error) {
	spec := sb.Spec.Verification
	s, err := parseSchedule(spec.Schedule, cmp.Or(spec.TimeZone, defaultTimeZone), sb.Namespace+"/"+sb.Name)
	if err != nil {
		return Plan{}, fmt.Errorf("spec.verification.%w", err)
	}
	p := Plan{Schedule: s, Verification: Verification{
		Rolling:     spec.Mode == v1alpha1.VerificationRolling,
		Concurrency: int(spec.Concurrency),
		Deadline:    duration(spec.Deadline, DefaultDeadline),
	}}
	if p.Concurrency == 0 {
		p.Concurrency = DefaultVerificationConcurrency
	}
	if spec.Bandwidth != nil {
		p.Bandwidth = spec.Bandwidth.Value()
	}
	if p.Rolling {
		p.RollingPeriod, p.RollingInterval = duration(spec.RollingPeriod, defaultRollingPeriod), s.gap
	}
	p.Suspended = Suspended(sb)
	return p, nil
}

// Suspended says why no run of sb's verification is begun; "" if they are.
func Suspended(sb *v1alpha1.StorageBackend) string {
	switch {
	case !sb.DeletionTimestamp.IsZero():
		return "the backend is being deleted"
	case sb.Spec.Verification.Suspend:
		return "spec.verification.suspend is set"
	case sb.Spec.Probe.Suspend:
		return "spec.probe.suspend is set"
	}
	return ""
}

// Promise is how old a verification may be before it is overdue: everything is
// read at each run, or once in the period; one run may be missed, and a run
// takes its time.
func (p Plan) Promise() time.Duration {
	within := p.Schedule.gap
	if p.Rolling {
		within = max(within, p.RollingPeriod)
	}
	return within + p.Schedule.gap + p.Deadline
}

// The defaults of spec.verification.resources, as the schema has them.
var (
	DefaultRequests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	DefaultLimits   = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}
)
