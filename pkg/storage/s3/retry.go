package s3

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// maxAttempts of one request, the first included: with these pauses a
	// server that restarts has about two seconds on average.
	maxAttempts = 5
	// rareAttempts is for failures that take long to show or seldom pass.
	rareAttempts = 2

	// maxRetryAfter is as long as we wait because a server says so: memory is
	// held meanwhile. Who asks for more is not asked again.
	maxRetryAfter = 20 * time.Second
)

// retries of one request: anything up to the whole delay, as all of its clients
// come back to a server that was away.
var retries = backoff.Policy{First: 250 * time.Millisecond, Most: 5 * time.Second, Jitter: 1}

// failure is what decides about an attempt that failed.
type failure struct {
	reason string        // as find tells; decides where there was no answer, or it broke off
	status int           // of the answer; 0: none, or a success that broke off
	code   string        // in the answer's body
	after  time.Duration // what its Retry-After asks for; 0: nothing
}

// failureOf takes what matters out of the SDK's error.
func failureOf(err error, now time.Time) failure {
	f := failure{reason: find(err).reason}
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil || succeeded(answer) {
		return f
	}
	f.status = answer.HTTPStatusCode()
	f.after = retryAfter(answer.Response.Header.Get("Retry-After"), now)
	var api smithy.APIError
	if errors.As(err, &api) {
		f.code = api.ErrorCode()
	}
	return f
}

// broken reports whether an answer could not be read: it is none then. One that
// refuses loses its body where the server closes the connection over a request
// that it has not read to the end, and with the body goes what it refuses.
func broken(answer *smithyhttp.ResponseError) bool {
	reason := findConnection(answer.Err).reason
	return succeeded(answer) || reason == storage.ReasonConnectionLost || reason == storage.ReasonTimedOut
}

func succeeded(answer *smithyhttp.ResponseError) bool { return answer.HTTPStatusCode()/100 == 2 }

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// What is repeated: these and nothing else. A code goes before a status; one
// that is not here and that byCode knows is final.
var (
	repeatedReasons = map[string]int{ // no answer came, or broke off; how many attempts are made
		storage.ReasonConnectionRefused: maxAttempts,
		storage.ReasonConnectionLost:    maxAttempts,
		storage.ReasonTimedOut:          rareAttempts, // each has cost requestTimeout
		storage.ReasonNameNotResolved:   rareAttempts, // a resolver's hiccup, or a wrong name
	}
	repeatedStatuses = map[int]bool{
		http.StatusTooManyRequests:     true,
		http.StatusInternalServerError: true,
		http.StatusBadGateway:          true,
		http.StatusServiceUnavailable:  true,
		http.StatusGatewayTimeout:      true,
	}
	repeatedCodes = map[string]bool{ // besides those that throttle
		"InternalError":      true,
		"ServiceUnavailable": true,
		"RequestTimeout":     true,
		"OperationAborted":   true,

		"BadDigest":                   true,
		"InvalidDigest":               true,
		"IncompleteBody":              true,
		"XAmzContentSHA256Mismatch":   true,
		"XAmzContentChecksumMismatch": true,
	}
)

// attempts returns how many attempts a request has that fails so; 1: no other.
func (f failure) attempts() int {
	_, known := byCode[f.code]
	if f.throttles() || repeatedCodes[f.code] || repeatedStatuses[f.status] && !known {
		return maxAttempts
	}
	return max(1, repeatedReasons[f.reason])
}

// throttles reports whether the answer's code asks for fewer requests.
func (f failure) throttles() bool { return byCode[f.code].kind == storage.ErrThrottled }

// unclear reports whether the server may have done, or be doing, what it was
// asked for.
func (f failure) unclear() bool {
	switch {
	case f.status == 0:
		return f.reason != storage.ReasonConnectionRefused && f.reason != storage.ReasonNameNotResolved &&
			f.reason != storage.ReasonTLSNotTrusted && f.reason != storage.ReasonCredentialsFailed
	case f.throttles():
		return false
	}
	return f.status >= 500
}

// unclear reports whether a request that ended so may have been carried out.
func unclear(err error) bool { return err != nil && failureOf(err, time.Time{}).unclear() }

// decide says whether a request is repeated after its nth attempt (from 1)
// failed, and how long to wait before. jitter is from 0 to 1, left what remains
// of the caller's time: a wait that does not fit is not begun.
func decide(f failure, nth int, jitter float64, left time.Duration) (wait time.Duration, again bool) {
	if nth >= f.attempts() || f.after > maxRetryAfter {
		return 0, false
	}
	wait = f.after + retries.Delay(nth, jitter)
	return wait, wait < left
}

// again waits after the nth attempt of a request failed, and reports whether it
// may be repeated: err is final otherwise.
func (b *Backend) again(ctx context.Context, nth int, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	now := time.Now()
	left := time.Duration(math.MaxInt64)
	if deadline, has := ctx.Deadline(); has {
		left = deadline.Sub(now)
	}
	wait, again := decide(failureOf(err, now), nth, rand.Float64(), left) //nolint:gosec // spreads load
	if !again || !b.retries.spend(now) {
		return false
	}
	return backoff.Sleep(ctx, wait)
}

// try makes a request until it succeeds or must not be repeated, and returns
// the SDK's last error. Before a request that may have been carried out is
// repeated, done, if there is one, looks: true makes it a success. Where done
// itself fails, what had failed first is returned.
func (b *Backend) try(ctx context.Context, attempt func(context.Context) error, done func(context.Context) (bool, error)) error {
	b.retries.earn(time.Now())
	for nth := 1; ; nth++ {
		err := attempt(ctx)
		if err == nil || !b.again(ctx, nth, err) {
			return err
		}
		if done == nil || !unclear(err) {
			continue
		}
		if is, checking := done(ctx); is {
			return nil
		} else if checking != nil {
			return err
		}
	}
}

// call is try for a call of the client that may simply be repeated and has no
// body (or one of its own for each attempt). Errors are the SDK's.
func call[I, O any](ctx context.Context, b *Backend, do func(context.Context, *I, ...func(*s3.Options)) (*O, error), input *I) (*O, error) {
	var out *O
	err := b.try(ctx, func(ctx context.Context) (err error) {
		out, err = do(ctx, input)
		return err
	}, nil)
	return out, err
}

// lister is call for the SDK's paginators.
type lister struct{ b *Backend }

func (l lister) ListObjectsV2(ctx context.Context, input *s3.ListObjectsV2Input, _ ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	return call(ctx, l.b, l.b.client.ListObjectsV2, input)
}

func (l lister) ListParts(ctx context.Context, input *s3.ListPartsInput, _ ...func(*s3.Options)) (*s3.ListPartsOutput, error) {
	return call(ctx, l.b, l.b.client.ListParts, input)
}

const (
	// budgetReserve is how many requests may be repeated out of nothing: all
	// that are under way when a server restarts.
	budgetReserve = 64
	// budgetShare is what each request adds, budgetRate what each second does.
	budgetShare = 0.1
	budgetRate  = 1
)

// budget bounds how many requests are repeated: about a tenth of them. In an
// outage each is made once then, and its failure is the answer. The zero value
// is a full one.
type budget struct {
	mu    sync.Mutex
	spent float64 // 0 to budgetReserve
	at    time.Time
}

// earn counts a request.
func (b *budget) earn(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass(now)
	b.spent = max(0, b.spent-budgetShare)
}

// spend takes one repetition out of the budget, if one is left.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass(now)
	if b.spent > budgetReserve-1 {
		return false
	}
	b.spent++
	return true
}

func (b *budget) pass(now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.spent = max(0, b.spent-passed*budgetRate)
		b.at = now
	}
}
