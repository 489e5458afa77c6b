package registrar

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Prober tries one declared backend when someone asks.
type Prober interface {
	// Probe tries every verb and feature of the place apart, as the backend is
	// declared now; where that is also what bytes go by, what it found is
	// remembered as of any full probe. It writes below the place's probe prefix
	// only, and takes seconds. ErrProbing if one is under way in the backend.
	// What the place does wrong, and why it could not be tried, is in the report
	// and no error.
	Probe(ctx context.Context) (ProbeReport, error)
}

// ErrProbing: one probe at a time in each backend.
var ErrProbing = errors.New("a probe of the backend is under way")

// ProbeReport is what a full probe found.
type ProbeReport struct {
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	// At is when it began, Seconds how long it took.
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// OK: all that new blobs need works, and what was tried is in service.
	OK bool `json:"ok"`
	// Configuration that was tried: ConfigurationInService or
	// ConfigurationDeclared; "" where none was, or it is no declared backend's.
	Configuration string `json:"configuration,omitempty"`
	// Results in the order in which they were tried; none where the declared
	// place could not be opened as this backend's. Reason and Message explain
	// that, and why what is declared is not in service.
	Results []ProbeResult `json:"results"`
	Reason  string        `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

// What ProbeReport.Configuration says.
const (
	// ConfigurationInService: what is declared now is what bytes go by.
	ConfigurationInService = "InService"
	// ConfigurationDeclared: bytes go by what worked last, if by anything.
	ConfigurationDeclared = "Declared"
)

// ProbeResult is one verb or feature.
type ProbeResult struct {
	storage.Capability
	// Needed: without it the backend cannot take new blobs.
	Needed bool `json:"needed"`
	// Reason is the CamelCase reason of what failed.
	Reason string `json:"reason,omitempty"`
	// Detail is what was measured, in words.
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}
