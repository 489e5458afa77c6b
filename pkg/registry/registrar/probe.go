package registrar

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Prober probes one declared backend on demand.
type Prober interface {
	// Probe tries each verb and feature of the place by itself, as the backend is
	// declared now. If that declaration is in service, the result is kept as that
	// of any full probe. It writes only below the place's probe prefix, and takes
	// seconds. ErrProbing if a probe of the backend is running. Faults of the place,
	// and why it could not be tried, are in the report and are no error.
	Probe(ctx context.Context) (ProbeReport, error)
}

// ErrProbing: a backend has one probe at a time.
var ErrProbing = errors.New("a probe of the backend is running")

// ProbeReport is what a full probe found.
type ProbeReport struct {
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	// At is when it began, Seconds how long it took.
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// OK: everything that new blobs need works, and the configuration is in service.
	OK bool `json:"ok"`
	// Configuration that was tried: ConfigurationInService or
	// ConfigurationDeclared; "" if none was tried, or it is not a declared backend's.
	Configuration string `json:"configuration,omitempty"`
	// Results in the order of trying; none if the declared place could not be
	// opened as this backend's. Reason and Message explain that, and why the
	// declared configuration is not in service.
	Results []ProbeResult `json:"results"`
	Reason  string        `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

// What ProbeReport.Configuration says.
const (
	// ConfigurationInService: the declared configuration is in use.
	ConfigurationInService = "InService"
	// ConfigurationDeclared: the last configuration that worked is in use, or none.
	ConfigurationDeclared = "Declared"
)

// ProbeResult is one verb or feature.
type ProbeResult struct {
	storage.Capability
	// Needed: without it the backend cannot take new blobs.
	Needed bool `json:"needed"`
	// Reason is the CamelCase reason of what failed.
	Reason string `json:"reason,omitempty"`
	// Detail says what was measured.
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}
