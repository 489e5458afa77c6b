package access

// Limits.
const (
	// MaxTokenLength bounds a token, in bytes: a ServiceAccount's has about
	// 1,200, one of an identity provider with many groups a few thousand.
	MaxTokenLength = 16 << 10
	// maxHolders is how many producers that have a blob are asked about, one
	// after the other, when a read by digest does not say whose package it is of.
	maxHolders = 32
	// maxProducersPerPage is how many producers a page of a listing looks at.
	maxProducersPerPage = 100
	// maxSessions whose producers are remembered: about 150 bytes each.
	maxSessions = 10_000
)
