package declared

import (
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// The defaults and bounds of spec.probe, as the schema has them: files have no schema.
const (
	DefaultInterval         = time.Minute
	DefaultTimeout          = 15 * time.Second
	DefaultFailureThreshold = 3

	minInterval, maxInterval = 5 * time.Second, 24 * time.Hour
	minTimeout, MaxTimeout   = time.Second, 5 * time.Minute
	maxFailureThreshold      = 20
)

// ProbeInterval is spec.probe.interval.
func ProbeInterval(sb *v1alpha1.StorageBackend) time.Duration {
	return duration(sb.Spec.Probe.Interval, DefaultInterval)
}

// ProbeTimeout is spec.probe.timeout.
func ProbeTimeout(sb *v1alpha1.StorageBackend) time.Duration {
	return duration(sb.Spec.Probe.Timeout, DefaultTimeout)
}

// FailureThreshold is spec.probe.FailureThreshold.
func FailureThreshold(sb *v1alpha1.StorageBackend) int {
	if sb.Spec.Probe.FailureThreshold == 0 {
		return DefaultFailureThreshold
	}
	return int(sb.Spec.Probe.FailureThreshold)
}
