package serving

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// BusyError: the holder of the token asks for more at a time than one may.
type BusyError struct{ Message string }

func (e *BusyError) Error() string { return e.Message }

// holders bound what one holder asks for at a time.
type holders struct {
	perSecond rate.Limit // 0 for no limit
	inFlight  int64      // bytes that requests in progress have announced
	running   int        // requests at a time, 0 for no limit

	mu    sync.Mutex
	known map[string]*holder
}

type holder struct {
	limiter *rate.Limiter
	running int
	bytes   int64
}

func newHolders(perSecond float64, running int) *holders {
	return &holders{perSecond: rate.Limit(perSecond), inFlight: BytesInFlight, running: running, known: map[string]*holder{}}
}

// enter begins a request. leave ends it.
func (h *holders) enter(name string, r *http.Request) (leave func(), err error) {
	// One request may have any length, and a push sends several files at a time.
	length := min(max(r.ContentLength, 0), h.inFlight/countedWhole)
	h.mu.Lock()
	defer h.mu.Unlock()
	who := h.known[name]
	if who == nil {
		who = &holder{limiter: rate.NewLimiter(h.perSecond, int(h.perSecond)*burstSeconds+1)}
		h.known[name] = who
		h.forget()
	}
	if h.running > 0 && who.running >= h.running {
		return nil, &BusyError{fmt.Sprintf("%s has %d requests in progress, which is as many as one may have", name, who.running)}
	}
	if length > 0 && who.bytes+length > h.inFlight {
		return nil, &BusyError{fmt.Sprintf("%s has requests of %d bytes in progress, at most %d are allowed together", name, who.bytes, h.inFlight)}
	}
	if h.perSecond > 0 && !who.limiter.Allow() {
		return nil, &BusyError{fmt.Sprintf("%s sends more than %g requests per second", name, float64(h.perSecond))}
	}
	who.running++
	who.bytes += length
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		who.running--
		who.bytes -= length
		if who.running == 0 && h.perSecond == 0 {
			delete(h.known, name)
		}
	}, nil
}

// forget removes holders who have not asked for a while, when there are many. mu is held.
func (h *holders) forget() {
	if len(h.known)%manyHolders != 0 {
		return
	}
	now := time.Now()
	for name, who := range h.known {
		if who.running == 0 && who.limiter.TokensAt(now) >= float64(who.limiter.Burst()) {
			delete(h.known, name)
		}
	}
}
