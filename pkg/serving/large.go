package serving

import (
	"net/http"
	"time"
)

// LargeBodies limits how many requests hold a large body in memory at a time,
// so that memory depends on configuration and not on the number of clients. A
// request that streams its body needs no place. Safe for concurrent use.
type LargeBodies struct {
	places  chan struct{}
	small   int64
	timeout time.Duration
}

// NewLargeBodies returns one with that many places. A body of at most small
// bytes needs none. A body with a place must arrive within the timeout, so that
// a slow client does not block the others for good.
func NewLargeBodies(places int, small int64, timeout time.Duration) *LargeBodies {
	return &LargeBodies{make(chan struct{}, places), small, timeout}
}

// Enter waits for a place, at most until the request's context ends. Call
// leave when the memory that the body takes is free again.
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
