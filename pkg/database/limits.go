package database

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

const (
	// maxAttempts of a transaction that is known not to be committed.
	maxAttempts = 8
	// finishTimeout bounds a COMMIT or ROLLBACK on PostgreSQL, which the caller's context does not cancel.
	finishTimeout = 30 * time.Second
	// busyTimeout is how long SQLite waits for a writer of another process.
	busyTimeout = 10 * time.Second
	// holdTimeout is how long HoldReads waits for each lock: as long every Read that begins waits behind it.
	holdTimeout = time.Second
	// openTimeout bounds how long Open waits for other processes that open the same file.
	openTimeout = 10 * time.Second

	// maxReaders and maxWriters are numbers of connections. PostgreSQL's default
	// max_connections is 100: five replicas fit. SQLite has one writer.
	maxReaders = 12
	maxWriters = 4

	// maxParameters of one statement of InsertRows. Both engines allow more than
	// 32,000; above a few thousand a statement is not faster, only larger in the statement caches.
	maxParameters = 2000
	// maxGroup is the maximum number of members that share a transaction of a Group.
	maxGroup = 256
)

// retries is the backoff of a transaction, and of opening a file that another process
// is opening too: 1.3 s on average for maxAttempts.
var retries = backoff.Policy{First: 15 * time.Millisecond, Jitter: 2. / 3}
