package database

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

const (
	// maxAttempts of a transaction that certainly was not committed.
	maxAttempts = 8
	// finishTimeout bounds a COMMIT or ROLLBACK on PostgreSQL, which the caller's context does not end.
	finishTimeout = 30 * time.Second
	// busyTimeout is how long SQLite waits for a writer of another process.
	busyTimeout = 10 * time.Second
	// holdTimeout is how long HoldReads waits for each lock: as long every Read that begins waits behind it.
	holdTimeout = time.Second
	// openTimeout bounds how long Open waits for other processes that open the same file.
	openTimeout = 10 * time.Second

	// maxReaders and maxWriters are connections. PostgreSQL's default
	// max_connections is 100: five replicas fit. SQLite has one writer.
	maxReaders = 12
	maxWriters = 4

	// maxParameters of one statement of InsertRows. Both engines allow over
	// 32,000; beyond some thousand a longer statement is not faster, only larger in the statement caches.
	maxParameters = 2000
	// maxGroup is how many members share a transaction of a Group.
	maxGroup = 256
)

// retries of a transaction, and of opening a file that another process opens
// too: 1.3 s on average until maxAttempts are used up.
var retries = backoff.Policy{First: 15 * time.Millisecond, Jitter: 2. / 3}
