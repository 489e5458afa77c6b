package serving

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// enters begins a request of that length and reports whether it was let in.
func enters(t *testing.T, h *holders, name string, length int64) (leave func()) {
	t.Helper()
	leave, err := h.enter(name, &http.Request{ContentLength: length})
	if _, busy := err.(*BusyError); err != nil && !busy {
		t.Fatalf("%v is no BusyError", err)
	}
	return leave
}

// TestRequestsPerSecond: one holder's rate is bounded, after a burst; another's is its own.
func TestRequestsPerSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHolders(10)
		let := func(name string, tries int) (in int) {
			for range tries {
				if leave := enters(t, h, name, 0); leave != nil {
					leave()
					in++
				}
			}
			return in
		}
		if in := let("quick", 100); in != 21 {
			t.Errorf("%d at once, want twice the rate and one", in)
		}
		if in := let("other", 5); in != 5 {
			t.Errorf("another holder: %d of 5", in)
		}
		time.Sleep(time.Second)
		if in := let("quick", 100); in != 10 {
			t.Errorf("%d after a second, want the rate", in)
		}
		// Those who have gone are forgotten, and nobody gets a burst by that.
		for i := range 3 * manyHolders {
			let(fmt.Sprint("passer-by ", i), 1)
			if i == manyHolders {
				time.Sleep(time.Second)
			}
		}
		if in := let("quick", 100); in > 10 {
			t.Errorf("%d of one who was busy a second ago", in)
		}
		if len(h.known) > 2*manyHolders+1 {
			t.Errorf("%d holders are remembered", len(h.known))
		}
	})
}

// TestBytesInFlight: what one holder announces at a time is bounded; a single request is not.
func TestBytesInFlight(t *testing.T) {
	t.Parallel()
	h := newHolders(0)
	h.inFlight = 100
	large := enters(t, h, "one", 1000)
	if large == nil {
		t.Fatal("a single large request was refused")
	}
	if enters(t, h, "one", 1) != nil {
		t.Error("more beside it")
	}
	unknown := enters(t, h, "other", -1) // chunked: nothing is announced
	half, rest := enters(t, h, "other", 60), enters(t, h, "other", 40)
	if unknown == nil || half == nil || rest == nil {
		t.Error("another holder was refused")
	}
	if enters(t, h, "other", 1) != nil {
		t.Error("a byte too many")
	}
	half()
	again := enters(t, h, "other", 60)
	if again == nil {
		t.Error("what has ended still counts")
	}
	for _, leave := range []func(){large, unknown, rest, again} {
		leave()
	}
	if len(h.known) != 0 {
		t.Errorf("%d holders are remembered", len(h.known))
	}
}
