package kubernetes

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

const (
	// knownFor is how long a token is taken for what a review said of it: a
	// ServiceAccount that is deleted loses access within it. Never beyond the token's own end.
	knownFor = time.Minute
	// knownOffline is the same of a token that was verified by keys: soon after
	// the API server is back it is reviewed.
	knownOffline = 10 * time.Second
	// knownCrowded is how long after its last review a token that keys verify is
	// taken where a review would wait behind too many others.
	knownCrowded = 10 * time.Minute
	// refusedFor keeps a client that goes on with a bad token from the API server.
	refusedFor = 10 * time.Second
	// revokedFor: no longer than what was allowed holds.
	revokedFor = allowedHeld

	// allowedFor and deniedFor are how long a decision is used: a right that is
	// taken away ends within the first, one that is given begins within the second.
	allowedFor = time.Minute
	deniedFor  = 10 * time.Second
	// allowedHeld is how long an earlier "yes" holds while nobody can be asked.
	allowedHeld = time.Hour

	// startingFor is how long an API server may answer without being ready and
	// its "no" to what it allowed before still does not count. It reads its rules
	// within seconds: 10 s were seen on a busy machine.
	startingFor = time.Minute

	// askTimeout bounds a question to the API server. It answers within
	// milliseconds, or is as good as away.
	askTimeout = 3 * time.Second
	// quickFailure: an error that came sooner is tried once more. A connection
	// that the server closed while it was idle fails so, and says nothing of the server.
	quickFailure = time.Second
	// refreshKeys: an API server publishes a new key long before it is the only one.
	refreshKeys = 5 * time.Minute
	// retryKeys is the pause after it refused to give them.
	retryKeys = time.Minute
	// maxDocument bounds issuer and keys, in bytes: a key has a few hundred.
	maxDocument = 1 << 20

	// askedPerSecond and askedAtOnce bound how many questions of one kind are
	// put to the API server. It answers some thousands a second.
	askedPerSecond = 200
	askedAtOnce    = 400
	// unknownPerSecond and unknownAtOnce bound those about tokens that no key
	// at hand tells from junk: after a new key they are few, for keys are read again then.
	unknownPerSecond = 20
	unknownAtOnce    = 100
	// askerPerSecond and askerAtOnce bound one holder's share of the decisions: a
	// page of a listing takes up to 100, one after the other.
	askerPerSecond = 50
	askerAtOnce    = 200

	// complaintEvery is how often the log is told that the API server refuses to be asked.
	complaintEvery = 10 * time.Second

	// Caches: an entry has 200 to 500 bytes.
	maxKnown   = 10_000
	maxRefused = 10_000
	maxAllowed = 20_000
	maxDenied  = 10_000
)

// probes: looks whether the API server is back.
var probes = backoff.Policy{First: 500 * time.Millisecond, Most: 5 * time.Second}
