// Package placement holds the words in which the registry asks where bytes go
// and a routing table answers. It is a leaf: registry and routing both import
// it, and neither imports the other.
package placement

import (
	"context"
	"errors"
	"time"

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
	// Place says in words without secrets where Store's bytes are; "" where
	// nobody said it. It is for those who tend the backend.
	Place string `json:"-"`
	// Driver is "s3" or "local".
	Driver string `json:"driver"`
	// Ready: may take new bytes. A backend that is not ready may still be read.
	Ready bool `json:"ready"`
	// ReadOnly backends take no new bytes by declaration.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Reason is the CamelCase reason of the first broken condition, Message its
	// text; of a Ready backend, what is wrong with what is declared now while
	// what worked last serves on.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// LastProbe is when the state above was found out.
	LastProbe time.Time `json:"lastProbe,omitzero"`
	// Capabilities are what the last full probe found; nil where none was made.
	Capabilities []storage.Capability `json:"capabilities,omitempty"`
	// Store reaches the bytes; nil where it could not be opened.
	Store storage.Store `json:"-"`
	// Prober tries it on demand; nil where nobody can.
	Prober Prober `json:"-"`
}

// Explanation says which rule takes a request and what became of each backend.
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

// Considered is one backend of the matching rule and why it was taken or passed over.
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

// NoRuleError carries the explanation of a placement that no rule is for.
// errors.Is(err, ErrNoRule) holds.
type NoRuleError struct{ Explanation Explanation }

func (e *NoRuleError) Error() string { return ErrNoRule.Error() + ": " + e.Explanation.Reason }

// Is makes it an ErrNoRule.
func (e *NoRuleError) Is(target error) bool { return target == ErrNoRule }

// Registrar records a backend's identity; the registry satisfies it, whoever
// reconciles backends calls it.
type Registrar interface {
	// RegisterBackend reads the marker of b, or writes it if there is none and
	// logs v1.backend.registered, and returns the backend's id. A marker of another log or of another
	// place, or a lost one, is a *MarkerError: nothing may be written there. place describes
	// where the bytes are in words without secrets (s3://bucket/prefix at endpoint; a folder).
	RegisterBackend(ctx context.Context, name, driver, place string, b storage.Marked) (id string, err error)
	// Findings returns what verification last found in the backend.
	Findings(ctx context.Context, id string) (Findings, error)
	// ReleaseBackend lets a backend go whose declaration is being deleted, unless
	// the log names live locations in it that nobody has given up. In the same
	// step it logs v1.backend.abandoned: until the backend is registered again no
	// upload that was placed there can be published. It touches no bytes and needs
	// no place. Once more, or of a backend that was never registered, it does nothing.
	ReleaseBackend(ctx context.Context, leaving Leaving) (Released, error)
}

// Leaving is a backend that is no longer to be one.
type Leaving struct {
	Name string
	// ID is "" where nobody remembers it; then it is that of the last backend that
	// was registered at Place under Name, one with locations before one without.
	ID, Place string
	// Abandon gives up the live locations if it is the backend's id; any other value does not.
	Abandon string
}

// Released is what became of a backend that was to leave.
type Released struct {
	ID string // "" where the log knows of none
	// Live locations that the log named until now.
	Live int64
	// Held: they are, and nobody has given them up.
	Held bool
}

// What a place's marker says that it should not.
var (
	// ErrForeignMarker: the place belongs to another log or another backend.
	ErrForeignMarker = errors.New("the place belongs to another log or backend")
	// ErrNoMarker: the place answered, and the marker that should be there is not.
	ErrNoMarker = errors.New("the place has no identity object")
)

// MarkerError says which place it is, what its marker says and what should be
// there, without secrets. It unwraps to Kind, ErrForeignMarker or ErrNoMarker.
type MarkerError struct {
	Kind    error
	Message string
}

func (e *MarkerError) Error() string { return e.Kind.Error() + ": " + e.Message }

// Unwrap gives Kind.
func (e *MarkerError) Unwrap() error { return e.Kind }

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
	Failures []FailedLocation `json:"failures,omitempty"`
}

// MaxFailures bounds Findings.Failures; the log has them all.
const MaxFailures = 10

// FailedLocation is a blob that was found corrupt or missing in a backend.
type FailedLocation struct {
	SHA256 string `json:"sha256"` // sha256:…
	Reason string `json:"reason"` // corrupt or missing
}
