package storage

import (
	"context"
	"iter"
	"path"
	"strings"
	"time"
)

// OrphanKind is the kind of an orphan. A blob that the log does not know is none
// of these: List yields it, and only the owner of the log can recognize it.
type OrphanKind string

// The orphan kinds.
const (
	OrphanStaged OrphanKind = "staged" // an object below StagingPrefix
	OrphanProbe  OrphanKind = "probe"  // an object below ProbePrefix
	OrphanUpload OrphanKind = "upload" // a multipart upload that is not finished
)

// Orphan is an object that is not a blob. It is either left over from a process
// that died or in use by a running one; its age tells, and for an upload also the
// blob that its key names.
type Orphan struct {
	Kind OrphanKind
	// Key is relative to the backend's prefix.
	Key string
	// UploadID is the server's name for an upload; "" otherwise.
	UploadID string
	// Size in bytes; for an upload, of the parts received.
	Size int64
	// Modified is the place's time of the last write, or zero if the place does
	// not say.
	Modified time.Time
}

// Cleaner is a place that lists its orphans. Every driver implements it beside
// Store. It decides nothing: the caller knows which orphans to remove, and when.
type Cleaner interface {
	// Now returns the current time of the clock that sets Modified, taken from
	// a new write. Ages are differences of the two, so that a wrong local clock
	// cannot make a young orphan look old.
	Now(ctx context.Context) (time.Time, error)

	// Orphans yields staged objects, objects below the probe prefix, and then
	// unfinished uploads, including those in progress; an error says what could not
	// be listed, and what can be follows it. Orphans that appear or disappear meanwhile may or may not be included.
	Orphans(ctx context.Context) iter.Seq2[Orphan, error]

	// RemoveOrphan removes an orphan that Orphans yielded. Removing a missing one
	// succeeds. It never removes a blob or the marker.
	RemoveOrphan(ctx context.Context, orphan Orphan) error
}

// RemovableKey reports whether RemoveOrphan may delete the key: it must be below
// the staging or the probe prefix, depending on the kind, and must not lead out of
// it, because some servers resolve "..".
func (o Orphan) RemovableKey() bool {
	prefix := ""
	switch o.Kind {
	case OrphanStaged:
		prefix = StagingPrefix + "/"
	case OrphanProbe:
		prefix = ProbePrefix + "/"
	default:
		return false
	}
	return strings.HasPrefix(o.Key, prefix) && path.Clean(o.Key) == o.Key
}
