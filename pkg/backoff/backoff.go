// Package backoff computes how long to wait before something is tried again,
// and waits.
//
//	for n := 1; ; n++ {
//		if err = try(); err == nil || !temporary(err) || !policy.Wait(ctx, n) {
//			return err
//		}
//	}
package backoff

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// Policy is how the delays of one loop grow. Each is twice the one before it.
type Policy struct {
	// First is the delay after the first failure, before jitter.
	First time.Duration
	// Most bounds all delays; 0: nothing does.
	Most time.Duration
	// Jitter is the share of each delay that is left to chance, from 0 to 1, so
	// that those who failed together do not come back together. 0.2 gives four
	// fifths of the delay to the whole of it, 1 anything up to it.
	Jitter float64
}

// Delay returns the delay after the nth failure in a row, from 1. random is from
// 0 to 1 and chooses within the jitter: 1 gives the longest delay.
func (p Policy) Delay(n int, random float64) time.Duration {
	delay := p.First
	for ; n > 1 && delay <= math.MaxInt64/2 && (p.Most == 0 || delay < p.Most); n-- {
		delay *= 2
	}
	if p.Most > 0 {
		delay = min(delay, p.Most)
	}
	return Spread(delay, p.Jitter, random)
}

// Wait waits after the nth failure in a row. It reports whether to try again:
// false means that ctx is over.
func (p Policy) Wait(ctx context.Context, n int) bool {
	return Sleep(ctx, p.Delay(n, rand.Float64())) //nolint:gosec // spreads load
}

// Spread leaves a share of a delay to chance, as Policy.Jitter says.
func Spread(delay time.Duration, share, random float64) time.Duration {
	return delay - time.Duration(share*(1-random)*float64(delay))
}

// Sleep waits for the delay, and reports whether it has passed and ctx is not over.
func Sleep(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
