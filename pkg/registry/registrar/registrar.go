// Package registrar is the contract between the registry and the controllers of
// backends: their identity, what verification found in them, a probe on
// demand, and their leaving. Both sides import it.
//
// A marker is the object in each place that says which log and which backend the
// place belongs to. The head mark beside it says how far the
// log had come: a log that has not come so far is an older copy.
package registrar

import (
	"context"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Registrar records the identity of backends. The registry implements it; what
// reconciles backends calls it.
type Registrar interface {
	// RegisterBackend returns the id in the marker of b. If there is no marker, it
	// writes one and logs v1.backend.registered. A marker of another log or place,
	// or a lost one, is a *MarkerError: nothing may be written there. place says
	// without secrets where the bytes are (s3://bucket/prefix at endpoint; a folder).
	// ErrNotRecorded, with the id if there is a marker.
	RegisterBackend(ctx context.Context, name, driver, place string, b storage.Marked) (id string, err error)
	// MarkHead compares the head mark of a place with the log. Where the log does
	// not have what the mark says, it is an ErrOlderLog (a *MarkerError), and the
	// mark stays. Else the mark is moved to the head if it is elsewhere and at
	// least every has passed since it was written (HeadMarkIntervalKept where each
	// one stays); with CompareOnly it never is.
	MarkHead(ctx context.Context, owner Owner, b storage.Marked, every time.Duration) error
	// Findings returns what verifications last found in the backend.
	Findings(ctx context.Context, id string) (Findings, error)
	// InUse returns those of the backends in which the log names live locations.
	InUse(ctx context.Context, ids []string) ([]string, error)
	// ReleaseBackend ends a backend whose declaration is being deleted, unless the
	// log names live locations in it and leaving does not abandon them. In the same
	// step it logs v1.backend.abandoned: until the backend is registered again, no
	// upload that was placed there can be published. It does not access the
	// storage. For a backend that is abandoned already, or was never registered, it
	// does nothing.
	ReleaseBackend(ctx context.Context, leaving Leaving) (Released, error)
}

// CompareOnly has MarkHead write nothing.
const CompareOnly time.Duration = -1

// How often a head mark is moved at most.
const (
	// HeadMarkInterval: what was published since is not covered.
	HeadMarkInterval = 5 * time.Minute
	// HeadMarkIntervalKept is for places where each write stays and is paid for:
	// a bucket with a lock, or one in which nothing may be deleted.
	HeadMarkIntervalKept = 24 * time.Hour
)

// Leaving is a backend that is no longer to be one.
type Leaving struct {
	Name string
	// ID may be "". Then it is looked up: the last backend that was registered at
	// Place under Name, one with locations before one without.
	ID, Place string
	// Abandon gives up the live locations if it equals the backend's id; any other value does not.
	Abandon string
}

// Released is the outcome of ReleaseBackend.
type Released struct {
	ID string // "" if the log knows no such backend
	// Live locations that the log named until now.
	Live int64
	// Held: there are live locations and they were not abandoned, so the backend stays.
	Held bool
}
