package view

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// pace is how much a replay writes in one transaction, and how long it pauses after it.
// SQLite has one writer: while others write, transactions are short and each is followed by
// a pause as long as itself, so that half of the time is left for them. While nobody else
// does, they are long and the pauses short.
type pace struct {
	records int       // of the log in a transaction
	commits int64     // of the database, as of database.Commits, in the last transaction
	head    uint64    // of the log, as it was seen last
	others  time.Time // when somebody else was last seen to write
	last    time.Duration
}

func newPace() pace { return pace{records: pageRecords} }

// page is what is read next.
func (p *pace) page() eventlog.Page {
	return eventlog.Page{Records: p.records, Bytes: int64(p.records) * recordBytes}
}

// saw compares what the database has committed with what the replay has.
func (p *pace) saw(commits int64) {
	if p.commits != 0 && commits != p.commits+1 {
		p.others = time.Now()
	}
	p.commits = commits
}

// sawHead tells that others append.
func (p *pace) sawHead(position uint64) {
	if p.head != 0 && position != p.head {
		p.others = time.Now()
	}
	p.head = position
}

// busy reports whether somebody else has written lately.
func (p *pace) busy() bool { return time.Since(p.others) < busyFor }

// took has the next transaction be as long as it may be.
func (p *pace) took(d time.Duration) {
	p.last = d
	most, target := mostRecords, quietTime
	if p.busy() {
		most, target = pageRecords, busyTime
	}
	switch {
	case d > target:
		p.records = p.records / 2
	case d < target/2:
		p.records = p.records * 2
	}
	p.records = min(max(p.records, leastRecords), most)
}

// pause is how long others have for themselves after the last transaction. Who waits for
// SQLite's lock in another process looks every 100 ms at the latest.
func (p *pace) pause() time.Duration {
	if p.busy() {
		return min(p.last, maxPause)
	}
	return min(p.last/10, quietPause)
}
