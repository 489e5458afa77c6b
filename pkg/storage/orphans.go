package storage

import (
	"context"
	"iter"
	"path"
	"strings"
	"time"
)

// OrphanKind says what a leftover is. Blobs that nobody knows are none of
// these: List yields them, and only who keeps the log can tell.
type OrphanKind string

// The kinds.
const (
	OrphanStaged OrphanKind = "staged" // an object below StagingPrefix
	OrphanProbe  OrphanKind = "probe"  // an object below ProbePrefix
	OrphanUpload OrphanKind = "upload" // a multipart upload that was begun and not finished
)

// Orphan is something that is no blob and may be a leftover of a process that
// died, or belong to one that is at work: its age tells, and for an upload the
// blob that its key names.
type Orphan struct {
	Kind OrphanKind
	// Key below the backend's prefix.
	Key string
	// UploadID is the server's name for an upload; "" otherwise.
	UploadID string
	// Size in bytes; of an upload, of the parts that arrived.
	Size int64
	// Modified is when the place says that it was last written to; zero if it
	// does not.
	Modified time.Time
}

// Cleaner is a place that shows what was left behind in it. Every driver
// implements it beside Store. It decides nothing: what may go, and when, is
// the caller's to know.
type Cleaner interface {
	// Now is what the clock shows that Modified is taken from: that of
	// something written now. Ages are differences of these two, so that a
	// clock of ours that is wrong cannot make what is young look old.
	Now(ctx context.Context) (time.Time, error)

	// Orphans yields what is staged, what lies below the probe prefix, and
	// then unfinished uploads, those under way among them; an error ends it.
	// What comes or goes meanwhile may or may not appear.
	Orphans(ctx context.Context) iter.Seq2[Orphan, error]

	// RemoveOrphan removes one that Orphans yielded. Missing is success. It
	// never removes a blob or the marker.
	RemoveOrphan(ctx context.Context, orphan Orphan) error
}

// RemovableKey reports whether the key is one that RemoveOrphan may delete:
// below the staging or the probe prefix, as the kind says, and no way out of
// it: some servers resolve "..".
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
