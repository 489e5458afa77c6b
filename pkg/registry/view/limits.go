package view

import "time"

const (
	// claimTime is how long a rebuild that was killed keeps others waiting. A
	// transaction of one lasts about a second, and at most as long as a record of
	// 100,000 files takes; while it lasts it holds the row of the claim itself.
	claimTime = 30 * time.Second
	claimPoll = 500 * time.Millisecond
	// releaseTimeout bounds the dropping of tables at the end.
	releaseTimeout = 2 * time.Minute

	// pageRecords are what a replay begins with in one transaction, and writes at most
	// while others write: see pace. Records have recordBytes each at most on average: fewer
	// of larger ones are held at once. It is at least one record, however large.
	pageRecords, recordBytes = 500, 2 << 10
	// leastRecords and mostRecords: some 4 MiB of the log, or 25,000 rows of packages of
	// one file.
	leastRecords, mostRecords = 50, 2000
	// busyTime and quietTime are how long a transaction should last while others write,
	// and while nobody does.
	busyTime, quietTime = 100 * time.Millisecond, time.Second
	// busyFor: others that wrote so lately will write again.
	busyFor = 5 * time.Second
	// maxPause between two transactions while others write, and quietPause while nobody does.
	maxPause, quietPause = time.Second, 100 * time.Millisecond
	// indexedBytes of the log are in tables of SQLite at most before their indexes are
	// made: half a million packages of one file, of which an index takes up to five
	// seconds. Another process waits for ten.
	indexedBytes = 256 << 20
	// indexedBytesPostgreSQL: an index of fifty million rows takes it a minute or two.
	indexedBytesPostgreSQL = 8 << 30

	// rowsOfBatch, or fewer of bytesOfBatch together, are read ahead by each side of a comparison.
	rowsOfBatch, bytesOfBatch = 200, 256 << 10

	// carryRows of storage_locations are read in one transaction.
	carryRows = 5000
	// clockSkew is how much later than now an observation may say that it was made.
	clockSkew = time.Hour

	// swapPause is how long readers have for themselves between two attempts to exchange the tables.
	swapPause = 3 * time.Second
	// restRecords of the log are replayed under the head's lock; more is caught up with before.
	// Each time that more was appended meanwhile, twice as many are.
	restRecords = 100
)
