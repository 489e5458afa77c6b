package httpapi

import (
	"net/http"
	"time"
)

// largeBodies lets MaxLargeBodies requests at a time hold a large JSON or CBOR
// body and what is made of it: memory is bounded by configuration, not by the
// number of clients. Safe for concurrent use.
type largeBodies struct {
	places  chan struct{}
	timeout time.Duration
}

func newLargeBodies(timeout time.Duration) largeBodies {
	return largeBodies{make(chan struct{}, MaxLargeBodies), timeout}
}

// enter waits for a place, which a small body does not need, until r's context
// ends. The body must then be there within the timeout, so that no slow client
// keeps the others waiting for good. Call leave when what was made of the body
// is done with.
func (l largeBodies) enter(w *responseWriter, r *http.Request) (leave func(), err error) {
	if r.ContentLength >= 0 && r.ContentLength <= smallDeclaration {
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
