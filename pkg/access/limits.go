package access

// Limits.
const (
	// MaxTokenLength bounds a token, in bytes: that of a ServiceAccount has about
	// 1,200, that of an identity provider with many groups a few thousand.
	MaxTokenLength = 16 << 10
	// maxHolders is for how many producers of a blob the permission is checked,
	// one after the other, when a read by digest does not name a producer.
	maxHolders = 32
	// maxProducersPerPage is how many producers a page of a listing looks at.
	maxProducersPerPage = 100
	// maxExplored is for how many producers, and for how many backends, a caller is
	// told by itself what they may do: with the rest, fewer questions than an API
	// server is asked about one holder at once.
	maxExplored = 16
	// maxSessions is how many sessions' producers are cached: about 150 bytes each.
	maxSessions = 10_000
)
