// Package observe does the I/O of looking at backends: an Observer opens drivers,
// resolves credentials, reads markers and probes places. Backends of the same
// endpoint share a breaker. Package status decides what its observations mean.
package observe
