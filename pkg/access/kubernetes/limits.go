package kubernetes

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

const (
	// knownFor is how long the result of a review is used: a deleted
	// ServiceAccount loses access within it. It never exceeds the token's own expiry.
	knownFor = time.Minute
	// knownOffline is the same for a token that was verified by keys: it is
	// reviewed soon after the API server answers again.
	knownOffline = 10 * time.Second
	// knownCrowded is how long after its last review a token may be verified by
	// keys when too many reviews wait.
	knownCrowded = 10 * time.Minute
	// refusedFor is how long a refusal is used, so that a client that repeats an
	// invalid token does not reach the API server each time.
	refusedFor = 10 * time.Second
	// revokedFor: no longer than an earlier "yes" is used.
	revokedFor = allowedHeld

	// allowedFor and deniedFor are how long a decision is used: a permission that
	// is revoked ends within the first, one that is granted begins within the second.
	allowedFor = time.Minute
	deniedFor  = 10 * time.Second
	// allowedHeld is how long an earlier "yes" is used while the API server is away.
	allowedHeld = time.Hour

	// startingFor is how long a "no" to what was allowed before does not count
	// because the API server answers but is not ready. It reads its rules within
	// seconds: 10 s were seen on a busy machine.
	startingFor = time.Minute

	// askTimeout bounds a question to the API server, which normally answers
	// within milliseconds.
	askTimeout = 3 * time.Second
	// quickFailure: a question that fails sooner is asked once more. That happens
	// when the server has closed an idle connection, and does not mean that it is away.
	quickFailure = time.Second
	// refreshKeys: an API server publishes a new key long before it uses only that one.
	refreshKeys = 5 * time.Minute
	// retryKeys is the pause after it has refused to return them.
	retryKeys = time.Minute
	// maxDocument bounds the documents with issuer and keys, in bytes: a key has a few hundred.
	maxDocument = 1 << 20

	// askedPerSecond and askedAtOnce bound how many questions of one kind the API
	// server is asked. It answers some thousands a second.
	askedPerSecond = 200
	askedAtOnce    = 400
	// unknownPerSecond and unknownAtOnce bound questions about tokens that are
	// signed by an unknown key. After a new key they are few, since the keys are
	// then read again.
	unknownPerSecond = 20
	unknownAtOnce    = 100
	// askerPerSecond and askerAtOnce bound the decisions about one holder: a page
	// of a listing needs up to 100, one after the other.
	askerPerSecond = 50
	askerAtOnce    = 200

	// complaintEvery is how often the log says that the API server refuses questions.
	complaintEvery = 10 * time.Second

	// Caches: an entry has 200 to 500 bytes.
	maxKnown   = 10_000
	maxRefused = 10_000
	maxAllowed = 20_000
	maxDenied  = 10_000
)

// probes: looks whether the API server is back.
var probes = backoff.Policy{First: 500 * time.Millisecond, Most: 5 * time.Second}
