package eventlog

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

// Limits on one event, checked by Append. Past them it is an ErrInvalidEvent.
const (
	// MaxKindLength, MaxActorLength and MaxSubjectLength in bytes.
	MaxKindLength    = 128
	MaxActorLength   = 512
	MaxSubjectLength = 1024
	// MaxPayloadBytes: a publication carries its manifest, of at most 32 MiB,
	// and a little more; both engines keep a value whole in memory, so it cannot be much larger.
	MaxPayloadBytes = 40 << 20
	// MaxEventsPerCommand that one Decide may return.
	MaxEventsPerCommand = 10_000
	// MaxCommandBytes of payload in one command's events: they may go in one
	// statement, and PostgreSQL takes messages of at most 1 GiB.
	MaxCommandBytes = 128 << 20
)

// Limits on a page of Read.
const (
	// MaxPage is the most records of a page.
	MaxPage = 1000
	// MaxPageBytes of payload end a page early, after at least one record.
	MaxPageBytes = 32 << 20
)

const (
	// checkPageBytes is how much a walk over the whole log holds at once, if no record alone is larger.
	checkPageBytes = 1 << 20
	// maxBatchBytes of payload end a batch: the next commands get a commit of their own.
	maxBatchBytes = 64 << 20
)

// polls: Follow looks for the appends of other processes this often, First when
// something has just happened, Most when nothing has for a while.
var polls = backoff.Policy{First: 100 * time.Millisecond, Most: time.Second}
