package backoff_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	const s = time.Second
	bounded, full, free := backoff.Policy{First: s, Most: 5 * s, Jitter: 0.2}, backoff.Policy{First: s, Most: 5 * s, Jitter: 1}, backoff.Policy{First: s}
	for _, c := range []struct {
		policy backoff.Policy
		n      int
		random float64
		want   time.Duration
	}{
		{bounded, 1, 1, s},
		{bounded, 1, 0, 800 * time.Millisecond},
		{bounded, 1, 0.5, 900 * time.Millisecond},
		{bounded, 2, 1, 2 * s},
		{bounded, 3, 1, 4 * s},
		{bounded, 4, 1, 5 * s},
		{bounded, 4, 0, 4 * s},
		{bounded, math.MaxInt, 1, 5 * s},
		{bounded, 0, 1, s},
		{full, 1, 0, 0},
		{full, 2, 0.5, s},
		{free, 1, 0, s},
		{free, 11, 0, 1024 * s},
		{backoff.Policy{First: s, Most: s / 2}, 1, 1, s / 2},
		{backoff.Policy{}, 3, 1, 0},
	} {
		if got := c.policy.Delay(c.n, c.random); got != c.want {
			t.Errorf("%+v: delay %d at %v is %s, want %s", c.policy, c.n, c.random, got, c.want)
		}
	}
	if got := free.Delay(math.MaxInt, 1); got < math.MaxInt64/4 {
		t.Errorf("the largest delay is %s: it has overflowed", got)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := backoff.Policy{First: time.Minute, Jitter: 0.5}
		began := time.Now()
		if !policy.Wait(t.Context(), 2) {
			t.Error("the wait was over early")
		}
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if policy.Wait(ctx, 1) || time.Since(began) != time.Second {
			t.Errorf("it waited %s beyond its context", time.Since(began))
		}
		if backoff.Sleep(ctx, 0) {
			t.Error("a context that is over does not stop a wait of nothing")
		}
	})
}
