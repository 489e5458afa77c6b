package database

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

const (
	// maxAttempts of a transaction that is known not to be committed.
	maxAttempts = 8
	// busyTimeout is how long SQLite waits for a writer of another process.
	busyTimeout = 10 * time.Second
	// holdTimeout is how long HoldReads waits for each lock: as long every Read that begins waits behind it.
	holdTimeout = time.Second
	// openTimeout bounds how long Open waits for other processes that open the same file.
	openTimeout = 10 * time.Second

	// The bounds of waiting for PostgreSQL. A server that falls silent is noticed
	// within silenceTimeout, or pingTimeout on a connection that was idle for
	// idleCheck; then each of its hosts has connectTimeout (connect_timeout of the URL)
	// to answer. No attempt of a transaction begins after giveUp. Together a request
	// has its answer, or its transaction on another host, within 15 s.
	silenceTimeout = 6 * time.Second
	pingTimeout    = 2 * time.Second
	idleCheck      = time.Second
	connectTimeout = 3 * time.Second
	giveUp         = 10 * time.Second
	// commitTimeout bounds the silence after COMMIT: a slow disk is better waited for,
	// since the outcome would be unknown. The caller's context does not interrupt it.
	commitTimeout = 10 * time.Second
	// patientTimeout is silenceTimeout of what may take minutes; see Patient.
	patientTimeout = 10 * time.Minute
	// lockTimeout makes a wait for another writer's lock an answer of the server, so
	// that it is not taken for silence. The transaction is tried again until giveUp.
	lockTimeout = 4 * time.Second
	// idleInTransaction is after how long the server rolls back a transaction whose
	// client sends nothing: a lost replica holds up the others no longer.
	idleInTransaction = 20 * time.Second
	// writePiece is the part of a message that the server must take within silenceTimeout, in bytes.
	writePiece = 64 << 10
	// checkInterval: a write that was committed so recently proves that writing works.
	checkInterval = 5 * time.Second
	// spaceWanted is how many bytes must be free before a full database counts as
	// writable again: a small push takes a page or two of each of a dozen tables and indexes.
	spaceWanted = 256 << 10

	// maxReaders and maxWriters are numbers of connections. PostgreSQL's default
	// max_connections is 100: five replicas fit. SQLite has one writer.
	maxReaders = 12
	// readerIdle is how long a reader of SQLite stays open that nobody needs.
	readerIdle = time.Minute
	maxWriters = 4

	// writerCache is what the connection that writes keeps of pages, in bytes: rows go to
	// random places of several indexes, each of which would be read from the file again. The
	// driver takes twice as much memory for it.
	writerCache = 4 << 20

	// maxParameters of one statement of InsertRows. Both engines allow more than
	// 32,000; above a few thousand a statement is not faster, only larger in the statement caches.
	maxParameters = 2000
	// maxGroup is the maximum number of members that share a transaction of a Group.
	maxGroup = 256
)

// retries is the backoff of a transaction, and of opening a file that another process
// is opening too: 1.3 s on average for maxAttempts.
var retries = backoff.Policy{First: 15 * time.Millisecond, Jitter: 2. / 3}
