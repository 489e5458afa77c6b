package registrar

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// Findings summarizes the locations of one backend.
type Findings struct {
	// Live locations, and those that failed verification.
	Live   int64 `json:"live"`
	Failed int64 `json:"failed"`
	// Corrupt and Missing split Failed.
	Corrupt int64 `json:"corrupt"`
	Missing int64 `json:"missing"`
	// Abandoned locations were given up with the backend and not verified since.
	// They are neither live nor failed.
	Abandoned int64 `json:"abandoned,omitempty"`
	// Unreadable are live locations whose object could not be read when it was last
	// tried although the place answered, Suspect those that a reader found missing
	// or short and that are verified next.
	Unreadable int64 `json:"unreadable,omitempty"`
	Suspect    int64 `json:"suspect,omitempty"`
	// OldestVerified is the time of the oldest last verification of a location;
	// zero if a location was never verified. LastVerified is the newest.
	OldestVerified time.Time `json:"oldestVerified,omitzero"`
	LastVerified   time.Time `json:"lastVerified,omitzero"`
	// WaitingSince is for the live location that waits longest: when it was last
	// verified, or stored if it never was. Zero if there is none.
	WaitingSince time.Time `json:"waitingSince,omitzero"`
	// Failures are the first MaxFailures failed locations, the latest failure first.
	Failures []verify.FailedLocation `json:"failures,omitempty"`
}

// MaxFailures bounds Findings.Failures; the log has them all.
const MaxFailures = 10
