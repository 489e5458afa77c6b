package pieces

import (
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		spent      time.Duration
		read, rest int64
		fast       bool
	}{
		{time.Second, 8 << 20, 200 << 20, true},
		{time.Second, 8 << 20, 300 << 20, false},
		{10 * time.Millisecond, 8 << 20, 10 << 30, true},
		{time.Minute, 8 << 20, 1 << 20, true},
		{0, 8 << 20, 5 << 40, true},
		{time.Hour, 8 << 20, 5 << 40, false},
	} {
		if got := (&Timed{spent: test.spent}).Within(30*time.Second, test.read, test.rest); got != test.fast {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
