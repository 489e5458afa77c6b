package storage

import "context"

// Support says whether a place can do something.
type Support string

// SupportUnknown means: not tested, or not completely.
const (
	Supported      Support = "Supported"
	Unsupported    Support = "Unsupported"
	SupportUnknown Support = "Unknown"
)

// Capability is the result of one test of a place. Message is one sentence without
// secrets, and without figures that change from test to test.
type Capability struct {
	Name    string  `json:"name"` // camelCase
	Status  Support `json:"status"`
	Message string  `json:"message"`
}

// Trial is a test that only the driver can run on its place. Backends offer trials
// by a method Trials() []Trial.
type Trial struct {
	// Name of the capability, in camelCase.
	Name string
	// Needed: new blobs require it.
	Needed bool
	// Writes: the trial writes objects below the backend's own prefix, and removes
	// them even if it fails or ctx ends.
	Writes bool
	// Try runs the test. An error says why the result is unknown, or what was
	// refused; Found is then empty.
	Try func(ctx context.Context) (Found, error)
	// Sparing is Try for a place where nothing can be deleted: it leaves no object. Nil
	// if nothing can be found out so.
	Sparing func(ctx context.Context) (Found, error)
}

// Found is the result of a Trial.
type Found struct {
	Status  Support
	Message string
	// Detail is a measurement in words; it may change from test to test.
	Detail string
	// Stays: what is stored stays for some time, whatever is deleted.
	Stays bool
	// Reason is set if the place refuses what the config requests for every put:
	// a constant of this package, for a condition.
	Reason string
}
