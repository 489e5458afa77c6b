package serving

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/coulomb/artifact-store/pkg/shares"
)

// pace is how fast a body must arrive while others wait for what it is read into.
type pace struct {
	rate int64 // bytes per second
	// since is when others began to wait, in Unix nanoseconds; 0 while nobody does.
	// It is set from another goroutine.
	since  atomic.Int64
	behind time.Time // when the body will be too slow; zero while nobody waits

	mu   sync.Mutex
	left bool // its deadlines are not set from elsewhere any more
}

var _ shares.Source = (*bodyReader)(nil)

// Hurry implements shares.Source.
func (b *bodyReader) Hurry(crowded <-chan struct{}, rate int64) (leave func()) {
	b.calm()
	if b.ended {
		return func() {}
	}
	one, left := &pace{rate: rate}, make(chan struct{})
	b.pace = one
	go func() {
		select {
		case <-crowded:
		case <-left:
			return
		}
		one.mu.Lock()
		defer one.mu.Unlock()
		if !one.left { // else the deadline would end what follows
			now := time.Now()
			one.since.Store(now.UnixNano())
			b.control.SetReadDeadline(now.Add(paceGrace)) //nolint:errcheck // best effort: else with the next byte
		}
	}()
	return func() {
		close(left)
		b.calm()
	}
}

// calm ends what Hurry began.
func (b *bodyReader) calm() {
	one := b.pace
	b.pace = nil
	if one == nil {
		return
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	one.left = true
	if one.since.Load() != 0 && !b.ended {
		b.renew(time.Now())
	}
}

// due is when the body is too slow for those who wait; zero if nobody does.
func (p *pace) due() time.Time {
	if p == nil {
		return time.Time{}
	}
	since := p.since.Load()
	if since != 0 && p.behind.IsZero() {
		p.behind = time.Unix(0, since).Add(paceGrace)
	}
	return p.behind
}

// arrived counts what a read brought. Whoever was quick saves up no more than paceGrace.
func (p *pace) arrived(n int) {
	if due := p.due(); !due.IsZero() {
		p.behind = due.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
		if most := time.Now().Add(paceGrace); most.Before(p.behind) {
			p.behind = most
		}
	}
}
