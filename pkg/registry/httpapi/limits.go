package httpapi

import "time"

// Limits on requests and connections. Those on what a package may hold are
// the registry's (registry/limits.go) and the manifest's.
const (
	// MaxJSONBody bounds the JSON and CBOR bodies of all operations but the
	// two below, in bytes: the largest, an opened upload, has 64 annotations of at most 4 KiB.
	MaxJSONBody = 1 << 20
	// MaxDeclareBody bounds one declaration, in bytes: 100,000 files of about
	// 300 bytes each are 30 MB, twice that for long paths.
	MaxDeclareBody = 64 << 20
	// MaxLargeBodies is how many declarations and manifests of more than
	// smallDeclaration are worked on at a time; others wait. 100,000 files are
	// 37 MB of JSON and take about 70 MB of memory until they are declared.
	MaxLargeBodies = 1
	// LargeBodyTimeout is how long such a body may take to come, once it is its
	// turn: the largest needs 220 KiB/s.
	LargeBodyTimeout = 5 * time.Minute
	// MaxHeaderBytes of a request: a path of 1,024 bytes is at most 3 KiB in
	// the request line, and the rest are a few digests.
	MaxHeaderBytes = 32 << 10
	// ReadHeaderTimeout and IdleTimeout of NewServer.
	ReadHeaderTimeout = 10 * time.Second
	IdleTimeout       = 2 * time.Minute
	// StallTimeout ends a request whose body, or an answer whose reader, has
	// not moved a byte for so long. There is no limit on the whole: 10 GiB over a slow line may take a day.
	StallTimeout = time.Minute

	// writeChunk is how much of a file is handed to sendfile before its
	// deadline is renewed: it asks 17 KiB/s of a client, and costs one
	// system call in a few hundred microseconds of sending.
	writeChunk = 1 << 20
	// smallDeclaration is up to what size, in bytes, bodies are worked on without waiting.
	smallDeclaration = 1 << 20
	// smallBody is what net/http itself reads of a refused body, in bytes.
	smallBody = 256 << 10
	// drainTimeout is how long the rest of a refused body is read.
	drainTimeout = 2 * time.Second
	// heartbeat keeps proxies and clients from taking a quiet event stream for a dead one.
	heartbeat = 15 * time.Second
	// progressInterval is the least time between two lines of a verification.
	progressInterval = 200 * time.Millisecond
	// retryAfter is what a 503 suggests, in seconds: about one probe of a backend.
	retryAfter = "5"
)
