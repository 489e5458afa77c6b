// Package placement holds the words in which the registry asks where bytes go
// and a routing table answers. Registry and routing both import it, and neither
// imports the other.
package placement

import (
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Placer is what the registry needs of a routing table. All methods may be
// called concurrently, are answered from memory and never block.
type Placer interface {
	// Place chooses the backend for a new package. ErrNoRule (a *NoRuleError) if no rule
	// matches, ErrNoReadyBackend (a *NotReadyError) if the matching rule has none that can take it.
	Place(req Request) (Backend, error)
	// Explain says what Place would do now, and why.
	Explain(req Request) Explanation
	// Open returns the backend with the recorded id, whatever policy says
	// now. ErrUnknownBackend if no declared backend has that id.
	Open(id string) (Backend, error)
	// Backends lists every declared backend by name.
	Backends() []Backend
}

// Errors of a Placer.
var (
	ErrNoRule         = errors.New("no routing rule matches")
	ErrNoReadyBackend = errors.New("no backend of the matching rule is ready")
	ErrUnknownBackend = errors.New("no declared backend has this id")
)

// Request is what a rule can match on.
type Request struct {
	Producer       string `json:"producer"`
	RetentionClass string `json:"retentionClass"`
}

// Backend is one declared backend as the last reconciliation left it.
type Backend struct {
	// ID is the UUID of the marker object; "" until it was read or written.
	ID string `json:"id"`
	// Name of the StorageBackend.
	Name string `json:"name"`
	// Place says without secrets where Store's bytes are; "" if that is not known.
	// It is for those who operate the backend.
	Place string `json:"-"`
	// Driver is "s3" or "local".
	Driver string `json:"driver"`
	// Ready: may take new bytes. A backend that is not ready may still be read.
	Ready bool `json:"ready"`
	// ReadOnly backends take no new bytes by declaration.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Reason is the CamelCase reason of the first condition that is not met,
	// Message its text. Of a Ready backend they say why the declared configuration
	// is not in use: the last one that worked is.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// LastProbe is when this state was observed.
	LastProbe time.Time `json:"lastProbe,omitzero"`
	// Capabilities are what the last full probe found; nil if there was none.
	Capabilities []storage.Capability `json:"capabilities,omitempty"`
	// Store reaches the bytes; nil if it could not be opened.
	Store storage.Store `json:"-"`
	// Prober probes it on demand; nil if it cannot be probed.
	Prober registrar.Prober `json:"-"`
}

// Explanation says which rule matches a request and why each backend was taken or not.
type Explanation struct {
	Request Request `json:"request"`
	// Policy and Rule (its index, from 0) that matched. Policy is "" for the
	// implicit rule: with no policy and one backend, everything goes there.
	Policy string `json:"policy,omitempty"`
	Rule   int    `json:"rule"`
	// Backend that would take the bytes, "" if none would.
	Backend   string `json:"backend,omitempty"`
	BackendID string `json:"backendId,omitempty"`
	// Considered lists the rule's backends in order of preference.
	Considered []Considered `json:"considered"`
	// Reason is one sentence.
	Reason string `json:"reason"`
}

// Considered is one backend of the matching rule and why it was taken or skipped.
type Considered struct {
	Backend string `json:"backend"`
	Taken   bool   `json:"taken"`
	Reason  string `json:"reason"`
}

// NotReadyError carries the explanation of a placement that found no ready
// backend. errors.Is(err, ErrNoReadyBackend) holds.
type NotReadyError struct{ Explanation Explanation }

func (e *NotReadyError) Error() string {
	return ErrNoReadyBackend.Error() + ": " + e.Explanation.Reason
}

// Is makes it an ErrNoReadyBackend.
func (e *NotReadyError) Is(target error) bool { return target == ErrNoReadyBackend }

// NoRuleError carries the explanation of a placement that no rule matches.
// errors.Is(err, ErrNoRule) holds.
type NoRuleError struct{ Explanation Explanation }

func (e *NoRuleError) Error() string { return ErrNoRule.Error() + ": " + e.Explanation.Reason }

// Is makes it an ErrNoRule.
func (e *NoRuleError) Is(target error) bool { return target == ErrNoRule }
