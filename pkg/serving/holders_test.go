package serving

import (
	"errors"
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
		h := newHolders(10, 0)
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

// What one holder may have at a time. A request without a body is never too many
// bytes, and neither are some large files that are sent at once.
func TestOfOneHolder(t *testing.T) {
	t.Parallel()
	h := newHolders(0, 20)
	enter := func(length int64) error {
		_, err := h.enter("a", &http.Request{ContentLength: length})
		return err
	}
	var tooMuch *BusyError
	for range 8 {
		if err := enter(5 << 40); err != nil {
			t.Fatalf("a large file of a push: %v", err)
		}
	}
	if err := enter(1<<63 - 1); err != nil {
		t.Fatal(err)
	}
	for range 7 {
		if err := enter(1 << 40); err != nil {
			t.Fatal(err)
		}
	}
	if err := enter(1); !errors.As(err, &tooMuch) {
		t.Errorf("a byte more than one may send: %v", err)
	}
	for range 4 {
		if err := enter(0); err != nil {
			t.Fatalf("a request without a body: %v", err)
		}
	}
	if err := enter(0); !errors.As(err, &tooMuch) {
		t.Errorf("more requests than one may have: %v", err)
	}
}

// What one has does not count for another, nor when it has ended.
func TestOfEachHolder(t *testing.T) {
	t.Parallel()
	h := newHolders(0, 1)
	h.inFlight = countedWhole * 100
	one, other := enters(t, h, "one", 100), enters(t, h, "other", -1) // chunked: nothing is announced
	if one == nil || other == nil {
		t.Fatal("a first request was refused")
	}
	if enters(t, h, "one", 1) != nil {
		t.Error("a second one of one holder")
	}
	one()
	again := enters(t, h, "one", 100)
	if again == nil {
		t.Fatal("what has ended still counts")
	}
	again()
	other()
	if len(h.known) != 0 {
		t.Errorf("%d holders are remembered", len(h.known))
	}
}

// Without authentication a machine is one holder, however many addresses it has.
func TestHolderByAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7:1000": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1000": "2001:db8:1:2::/64", "[2001:db8:1:2::9]:1000": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1000": "fe80::/64", "[::ffff:192.0.2.7]:1000": "::ffff:192.0.2.7", "127.0.0.1:1000": "127.0.0.1:1000", "[::1]:1000": "[::1]:1000",
	} {
		if got := holderOf(&http.Request{RemoteAddr: address}); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}
