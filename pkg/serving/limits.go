package serving

import "time"

// Limits on connections.
const (
	// MaxHeaderBytes of a request: a path of 1,024 bytes is at most 3 KiB in
	// the request line, and the rest are a few digests.
	MaxHeaderBytes = 32 << 10
	// ReadHeaderTimeout and IdleTimeout of NewServer.
	ReadHeaderTimeout = 10 * time.Second
	IdleTimeout       = 2 * time.Minute
	// StallTimeout ends a request whose body, or an answer whose reader, has
	// not moved a byte for this long. The whole has no limit: 10 GiB over a slow line may take a day.
	StallTimeout = time.Minute

	// writeChunk is how much of a file is handed to sendfile before its
	// deadline is renewed: it asks 17 KiB/s of a client, and costs one
	// system call in a few hundred microseconds of sending.
	writeChunk = 1 << 20
	// smallBody is how much of a refused body net/http itself reads, in bytes.
	smallBody = 256 << 10
	// BytesInFlight is how many bytes the requests of one holder that are in
	// progress may announce together (Content-Length). Of one request no more than a
	// part of that counts, of which there are countedWhole.
	BytesInFlight = 1 << 40
	countedWhole  = 16
	// burstSeconds of a rate of requests may come at once.
	burstSeconds = 2
	// manyHolders are remembered before those who have gone are forgotten.
	manyHolders = 1000
	// headOfLarge is how many bytes of a large body must have arrived before it gets a place.
	headOfLarge = 16 << 10
	// paceGrace: a body that others wait behind may be slow for as long, and must
	// move at its rate from then on. leastRate is that of large bodies, in bytes per second.
	paceGrace = 5 * time.Second
	leastRate = 256 << 10
	// answerRate is that of answers.
	answerRate = 1 << 20
	// pieceOfBody of a body of unknown length is read at a time.
	pieceOfBody = 256 << 10
	// answerPatience is how long a request waits for its turn to be answered, if its answer is held in memory.
	answerPatience = 10 * time.Second
	// interruptGrace is how long a body that is interrupted may still bring what is on its way.
	interruptGrace = 500 * time.Millisecond
	// drainTimeout is how long the rest of a refused body is read.
	drainTimeout = 2 * time.Second
)
