package eventlog

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

// Limits of one event. Append returns ErrInvalidEvent beyond them.
const (
	// MaxKindLength, MaxActorLength and MaxSubjectLength in bytes.
	MaxKindLength    = 128
	MaxActorLength   = 512
	MaxSubjectLength = 1024
	// MaxPayloadBytes: a publication contains its manifest, of at most 32 MiB, and
	// a little more. Both engines hold a value in memory as a whole, so it cannot be much larger.
	MaxPayloadBytes = 40 << 20
	// MaxEventsPerCommand is how many events one Decide may return.
	MaxEventsPerCommand = 10_000
	// MaxCommandBytes of payload in one command's events: one statement may
	// contain them all, and PostgreSQL accepts messages of at most 1 GiB.
	MaxCommandBytes = 128 << 20
)

// Limits of a page of Read.
const (
	// MaxPage is the maximum number of records of a page.
	MaxPage = 1000
	// MaxPageBytes of payload end a page early, after at least one record.
	MaxPageBytes = 32 << 20
)

const (
	// checkPageBytes is how much a walk over the whole log holds at once, unless a single record is larger.
	checkPageBytes = 1 << 20
	// followPageBytes of payload are held by Follow at once, unless a single record is larger.
	followPageBytes = 1 << 20
	// pieceBytes of a payload are read at once.
	pieceBytes = 4 << 20
	// maxPendingBytes of payload are decided at most before they are written, unless one command has more.
	maxPendingBytes = 1 << 20
	// heavyBytes of payload in a batch are not appended again because a later command fails.
	heavyBytes = 64 << 10
	// maxBatchBytes of payload end a batch: later commands get a commit of their own.
	maxBatchBytes = 64 << 20
)

// polls is how often Follow looks for the appends of other processes: First after
// something has happened, Most when nothing has happened for a while.
var polls = backoff.Policy{First: 100 * time.Millisecond, Most: time.Second}
