package placement

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Prober tries one declared backend when someone asks.
type Prober interface {
	// Probe tries every verb and feature of the place apart, and remembers what
	// it found as any full probe does. It writes below the place's probe prefix
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
	// OK: all that new blobs need works.
	OK bool `json:"ok"`
	// Results in the order in which they were tried; none where the backend is
	// not open, which Reason and Message explain then.
	Results []ProbeResult `json:"results"`
	Reason  string        `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

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
