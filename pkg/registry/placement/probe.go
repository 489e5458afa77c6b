package placement

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Prober tries backends when someone asks; whoever reconciles them satisfies it.
type Prober interface {
	// Probe tries every verb and feature of the declared backend of that name,
	// and remembers what it found as any full probe does. It writes below the
	// place's probe prefix only, and takes seconds. ErrProbing if one is under
	// way in the backend, ErrNotOpen if this process cannot reach it or may not
	// write there. What the place does wrong is in the report and is no error.
	Probe(ctx context.Context, name string) (ProbeReport, error)
}

// Errors of a Prober.
var (
	ErrProbing = errors.New("a probe of the backend is under way")
	// ErrNotOpen comes with why.
	ErrNotOpen = errors.New("the backend is not open")
)

// ProbeReport is what a full probe found.
type ProbeReport struct {
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	// At is when it began, Seconds how long it took.
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// OK: all that new blobs need works.
	OK      bool          `json:"ok"`
	Results []ProbeResult `json:"results"`
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
