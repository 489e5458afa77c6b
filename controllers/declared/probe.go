package declared

import (
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// The defaults of spec.probe, as the schema has them.
const (
	DefaultInterval         = time.Minute
	DefaultTimeout          = 15 * time.Second
	DefaultFailureThreshold = 3

	// MaxProbeTimeout is the schema's bound of spec.probe.timeout.
	MaxProbeTimeout = 5 * time.Minute
)

// ProbeInterval is spec.probe.interval.
func ProbeInterval(sb *v1alpha1.StorageBackend) time.Duration {
	return duration(sb.Spec.Probe.Interval, DefaultInterval)
}

// ProbeTimeout is spec.probe.timeout.
func ProbeTimeout(sb *v1alpha1.StorageBackend) time.Duration {
	return duration(sb.Spec.Probe.Timeout, DefaultTimeout)
}

// FailureThreshold is spec.probe.failureThreshold.
func FailureThreshold(sb *v1alpha1.StorageBackend) int {
	if sb.Spec.Probe.FailureThreshold == 0 {
		return DefaultFailureThreshold
	}
	return int(sb.Spec.Probe.FailureThreshold)
}
