package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
)

// Patience is how a program bears a registry that is away for a while: no server
// answers, or the answer is that it cannot now (408, 429, 502, 503, 504). The zero
// value waits for nobody.
type Patience struct {
	// For is how long one call is tried again, from its first failure on. Where a
	// transfer goes on from where it broke, each byte that arrived renews it.
	For time.Duration
	// Waiting, unless it is nil, is told of each wait before it begins. It may be
	// called concurrently.
	Waiting func(Wait)
}

// Wait is a pause before something is tried again.
type Wait struct {
	Cause error         // why
	Delay time.Duration // how long
	Left  time.Duration // how long it may be tried from now on; negative: without end
}

// patientRetries are the delays of a Patience; the last ones are far enough apart to
// bother nobody, the first ones close enough for a server that is only restarted.
var patientRetries = backoff.Policy{First: 200 * time.Millisecond, Most: 15 * time.Second, Jitter: 0.2}

// Attempts are those at one thing. It is for one goroutine.
type Attempts struct {
	patience Patience
	failed   int
	until    time.Time
}

// Begin counts the attempts at one thing.
func (p Patience) Begin() *Attempts { return &Attempts{patience: p} }

// Progress says that the thing has come further: the patience begins anew.
func (a *Attempts) Progress() { a.failed = 0 }

// Again waits after a failure, and reports whether to try again. It does not if the
// failure will not pass by itself, the patience is over, or ctx is.
func (a *Attempts) Again(ctx context.Context, err error) bool {
	var asked time.Duration
	if remote, is := errors.AsType[*RemoteError](err); is {
		asked = remote.RetryAfter
	}
	return a.againAfter(ctx, err, asked)
}

// againAfter is Again where the server asks to wait, 0 if it does not.
func (a *Attempts) againAfter(ctx context.Context, err error, asked time.Duration) bool {
	return ctx.Err() == nil && IsTemporary(err) && a.wait(ctx, err, asked)
}

// wait waits after a failure that passes by itself.
func (a *Attempts) wait(ctx context.Context, err error, asked time.Duration) bool {
	if a.patience.For <= 0 {
		return false
	}
	now := time.Now()
	if a.failed++; a.failed == 1 {
		a.until = now.Add(a.patience.For)
	}
	left := a.until.Sub(now)
	delay := patientRetries.Delay(a.failed, rand.Float64()) //nolint:gosec // spreads load
	if asked > left {
		return false // it would be told to wait even longer
	}
	delay = max(delay, asked)
	if delay = min(delay, left); delay <= 0 {
		return false // the last attempt was at the end of the patience
	}
	if a.patience.Waiting != nil {
		a.patience.Waiting(Wait{Cause: err, Delay: delay, Left: left})
	}
	return backoff.Sleep(ctx, delay)
}

// retryAfter is how long an answer asks to wait: in seconds, or until a date; 0 if it
// does not say.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second //nolint:gosec // 31 bits
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// timeoutError ends a call whose server does not move. It is a connection that failed.
type timeoutError struct{ what string }

func (e *timeoutError) Error() string   { return e.what }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true } // net.Error has it

// silence ends a request whose server says nothing, or stops. It begins before the
// request is sent, and ends with the answer's body.
type silence struct {
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
	answer bool // it has begun
}

func newSilence(ctx context.Context) (context.Context, *silence) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &silence{cancel: cancel}
}

// watch ends the request unless watch or calm is called again within the limit; 0 is none.
func (s *silence) watch(limit time.Duration, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(limit, what)
}

// await is watch, unless the answer has begun: a server may answer before it has all of
// the request.
func (s *silence) await(limit time.Duration, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.answer {
		s.set(limit, what)
	}
}

func (s *silence) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = true
	s.set(0, "")
}

func (s *silence) set(limit time.Duration, what string) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if limit > 0 {
		s.timer = time.AfterFunc(limit, func() {
			s.cancel(&timeoutError{"the server " + what + " for " + limit.String()})
		})
	}
}

func (s *silence) calm() { s.watch(0, "") }

// end releases it.
func (s *silence) end() {
	s.calm()
	s.cancel(nil)
}

// isNoSuchHost tells a name that does not exist from a resolver that does not answer.
func isNoSuchHost(err error) bool {
	dns, is := errors.AsType[*net.DNSError](err)
	return is && dns.IsNotFound
}
