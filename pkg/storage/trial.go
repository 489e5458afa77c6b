package storage

import "context"

// Support says whether a place can do something.
type Support string

// What was not tried, or not to its end, is SupportUnknown.
const (
	Supported      Support = "Supported"
	Unsupported    Support = "Unsupported"
	SupportUnknown Support = "Unknown"
)

// Capability is one thing that a place was tried at. Message is one sentence
// without secrets and without figures that are others at each trial.
type Capability struct {
	Name    string  `json:"name"` // camelCase
	Status  Support `json:"status"`
	Message string  `json:"message"`
}

// Trial is something that only a driver can try on its place. Backends offer
// trials by a method Trials() []Trial.
type Trial struct {
	// Name of the capability, in camelCase.
	Name string
	// Needed: a place that cannot do it is of no use for new blobs.
	Needed bool
	// Writes: it puts objects, below the backend's own prefix, and removes them
	// again, also when it fails or ctx ends.
	Writes bool
	// Try does it. An error says why it could not be found out, or what was
	// refused; Found then says nothing.
	Try func(ctx context.Context) (Found, error)
}

// Found is what a Trial found.
type Found struct {
	Status  Support
	Message string
	// Detail is what was measured, in words; it may be another each time.
	Detail string
	// Reason is set where the place refuses what the config asks of every put:
	// a constant of this package, for a condition.
	Reason string
}
