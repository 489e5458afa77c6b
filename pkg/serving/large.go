package serving

import (
	"net/http"
	"time"
)

// LargeBodies bounds how many requests hold a large body in memory at a time,
// so that memory is bounded by configuration and not by the number of clients.
// A request whose body is read as it comes needs no place. Safe for concurrent use.
type LargeBodies struct {
	places  chan struct{}
	small   int64
	timeout time.Duration
}

// NewLargeBodies has so many places. Bodies of at most small bytes need none;
// a body that has a place must be read within the timeout, or no one else
// would ever get it.
func NewLargeBodies(places int, small int64, timeout time.Duration) *LargeBodies {
	return &LargeBodies{make(chan struct{}, places), small, timeout}
}

// Enter waits for a place until the request's context ends. Call leave when
// the memory that the body takes is free again.
func (l *LargeBodies) Enter(w *Writer, r *http.Request) (leave func(), err error) {
	if r.ContentLength >= 0 && r.ContentLength <= l.small {
		return func() {}, nil
	}
	select {
	case l.places <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if w.body != nil {
		w.body.until = time.Now().Add(l.timeout)
	}
	return func() { <-l.places }, nil
}
