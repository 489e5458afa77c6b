package verify

import "time"

// Bounds of a run's options and of what it reports.
const (
	// DefaultConcurrency: each reader holds one connection and a few MiB.
	DefaultConcurrency = 4
	MaxConcurrency     = 64
	// MinBandwidth, in bytes per second: below it a server takes a reader for
	// one that has gone.
	MinBandwidth = 64 << 10
	// DefaultRollingPeriod and DefaultRollingInterval: a thirtieth each day.
	DefaultRollingPeriod   = 30 * 24 * time.Hour
	DefaultRollingInterval = 24 * time.Hour
	// MinDuration and MaxDuration bound period, interval and time limit.
	MinDuration = time.Second
	MaxDuration = 10 * 365 * 24 * time.Hour

	// MaxVerified and MaxFailed bound one report of findings: an event each for
	// all that was right, and for each failure. MaxFailed bounds what could not be
	// read, too.
	MaxVerified = 1000
	MaxFailed   = 100
	// MaxRun of the name of a run, in bytes; a UUID has 36.
	MaxRun = 64
	// MaxDetail of a failure, in bytes.
	MaxDetail = 1024
	// MaxPage is how many locations are listed at once.
	MaxPage = 1000

	// maxUnread bounds what could not be read and waits for the end of the run.
	maxUnread = 1000
	// maxReportedFailures bounds a Report; the log has them all.
	maxReportedFailures = 100
	// flushInterval is how long what was found right waits for more of it: what
	// a run that is killed loses.
	flushInterval = 30 * time.Second
	// flushTimeout bounds the last report of a run that was told to end.
	flushTimeout = 10 * time.Second
	// objectCost is what reading an object takes beside its bytes, in bytes:
	// a request and its answer, some milliseconds of a fast server.
	objectCost = 64 << 10
	// readChunk is how much is read at a time where bandwidth is bounded.
	readChunk = 64 << 10
)
