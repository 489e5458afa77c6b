package status

import (
	"time"

	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Observation is what one look at a backend found.
type Observation struct {
	Generation        int64
	Driver, Place, ID string
	ReadOnly          bool
	// Credentials says how they were resolved: Resolved, NotNeeded or Ambient.
	Credentials string
	// Suspended: nothing was written or read but the marker.
	Suspended bool
	// Problem is the first thing found wrong, nil for none.
	Problem *declared.Problem
	// Stands is why the recorded status stands although this look found nothing
	// out: an answer that is lacking and does not count yet; nil for none.
	Stands *declared.Problem
	// Away: it was not probed, because its endpoint does not answer or is busy; nil if it was.
	Away *Away
	// LastGood is what still works by the declaration that worked last.
	LastGood LastGood
	// Again is how many times in a row Problem was found before, where it is a refusal.
	Again int
	// Request is the annotation's request that no status has reported yet; "" for none.
	Request string
	// Capabilities are what is known of full probes as it is declared now; nil for nothing.
	Capabilities []storage.Capability
	// Pending: a full probe is due or under way; what it finds comes later.
	Pending bool
	// Head is what comparing the head mark with the log gave; nil where it was not compared.
	Head *HeadMark
	// Findings of verification; nil where they could not be read.
	Findings *registrar.Findings
	At       time.Time
}

// looked reports whether the observation says anything.
func (seen Observation) looked() bool { return seen.Away == nil || seen.Away.Problem != nil }

// Away is why a backend may not be probed now.
type Away struct {
	// problem is what the last look at the endpoint found; nil where it answers and is only busy.
	Problem *declared.Problem
	// failures is how many looks in a row found that: evidence, as it grows.
	Failures int
	// after is when it is worth trying again if nothing wakes the backend before.
	After time.Duration
}

// HeadMark is how the mark of the log's head in the place compares with the log.
type HeadMark struct {
	Older   string            // why the log is older than the mark; "" if it is not
	Unknown *declared.Problem // why the place does not let the mark be read or written; nil if it does
}
