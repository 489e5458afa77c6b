package registrar

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// Findings summarizes the locations of one backend.
type Findings struct {
	// Locations that the log names live, and those found failed.
	Live   int64 `json:"live"`
	Failed int64 `json:"failed"`
	// Corrupt and Missing split Failed.
	Corrupt int64 `json:"corrupt"`
	Missing int64 `json:"missing"`
	// Abandoned are locations from when the backend was given up. They are
	// neither live nor failed: nobody looked at them since.
	Abandoned int64 `json:"abandoned,omitempty"`
	// OldestVerified is when the location that was verified longest ago was
	// last read; zero if one never was. LastVerified is the newest.
	OldestVerified time.Time `json:"oldestVerified,omitzero"`
	LastVerified   time.Time `json:"lastVerified,omitzero"`
	// WaitingSince is when the live location was last verified, or stored if
	// it never was, that waits for verification longest; zero if there is none.
	WaitingSince time.Time `json:"waitingSince,omitzero"`
	// Failures are the first MaxFailures failed locations, the latest to fail first.
	Failures []verify.FailedLocation `json:"failures,omitempty"`
}

// MaxFailures bounds Findings.Failures; the log has them all.
const MaxFailures = 10
