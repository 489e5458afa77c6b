package server

import (
	"time"
)

// Limits on requests. Those on connections are those of package serving; those
// on what a package may hold are the registry's (registry/limits.go) and the manifest's.
const (
	// MaxJSONBody bounds the JSON and CBOR bodies of all operations but the
	// two below, in bytes: the largest, an opened upload, has 64 annotations of at most 4 KiB.
	MaxJSONBody = 1 << 20
	// MaxDeclareBody bounds one declaration, in bytes: 100,000 files of about
	// 300 bytes each are 30 MB, and twice that with long paths.
	MaxDeclareBody = 64 << 20
	// LargeBodyTimeout is how long such a body may take to arrive, once it is its
	// turn: the largest needs 220 KiB/s.
	LargeBodyTimeout = 5 * time.Minute

	// largeBody is the size, in bytes, from which on one body is processed at a time,
	// and the others wait: only declarations and manifests may be larger. 100,000
	// files are 37 MB of JSON and take about 70 MB of memory until they are declared.
	largeBody = 1 << 20
	// mediumBodies is how many bytes of smaller bodies are processed at a time. A
	// body of many short names takes some thirty times its size.
	mediumBodies = largeBody
	// heldAnswers is how many answers of up to about 1 MiB are in memory at a time:
	// pages, and what else is no stream.
	heldAnswers = 64
	// smallBody is the size up to which none waits.
	smallBody = 16 << 10
	// progressInterval is the least time between two progress lines of a run.
	progressInterval = 200 * time.Millisecond
	// retryAfter is what a 503 suggests, in seconds: about one probe of a backend.
	retryAfter = "5"
)
