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

	// pageBytes and pageRecords bound what a replay holds at once and writes in
	// one transaction, if no record alone is larger: some 7,000 files, 20,000 rows.
	pageBytes   = 1 << 20
	pageRecords = 500
	// maxPause between two transactions: each is followed by a pause as long as
	// itself, so that half of the time is left for pushes.
	maxPause = time.Second

	// carryRows of storage_locations are read in one transaction.
	carryRows = 5000
	// clockSkew is how much later than now an observation may say that it was made.
	clockSkew = time.Hour

	// swapPause is how long readers have for themselves between two attempts to exchange the tables.
	swapPause = 3 * time.Second
	// restPages of the log are replayed under the head's lock; more is caught up with before.
	// Each time that more was appended meanwhile, twice as many are.
	restPages = 2
)
