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
	// maxAttempts of one request, including the first: with these pauses a
	// server that restarts has about two seconds on average.
	maxAttempts = 5
	// rareAttempts is for failures that take long to show or rarely pass.
	rareAttempts = 2

	// maxRetryAfter is the longest Retry-After that is honored: memory is held
	// meanwhile. A request with a longer one is not retried.
	maxRetryAfter = 20 * time.Second
)

// retries is the backoff of one request. It has full jitter, because all clients of a
// server return at once after an outage.
var retries = backoff.Policy{First: 250 * time.Millisecond, Most: 5 * time.Second, Jitter: 1}

// failure is what decides whether a failed attempt is retried.
type failure struct {
	reason string        // from find; decides if there was no answer or only part of one
	status int           // of the answer; 0: none, or an interrupted success
	code   string        // error code in the answer's body
	after  time.Duration // its Retry-After; 0: none
}

// failureOf extracts the relevant parts of the SDK's error.
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

// broken reports whether an answer could not be read and so counts as none. A refusal
// loses its body if the server closes the connection over a request that it has not
// read to the end, and with the body its reason is lost.
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

// Only these failures are retried. A code takes precedence over a status; a code that
// is not listed here but known to byCode is final.
var (
	repeatedReasons = map[string]int{ // no answer, or an interrupted one: the number of attempts
		storage.ReasonConnectionRefused: maxAttempts,
		storage.ReasonConnectionLost:    maxAttempts,
		storage.ReasonTimedOut:          rareAttempts, // each costs requestTimeout
		storage.ReasonNameNotResolved:   rareAttempts, // a temporary failure of the resolver, or a wrong name
	}
	repeatedStatuses = map[int]bool{
		http.StatusTooManyRequests:     true,
		http.StatusInternalServerError: true,
		http.StatusBadGateway:          true,
		http.StatusServiceUnavailable:  true,
		http.StatusGatewayTimeout:      true,
	}
	repeatedCodes = map[string]bool{ // in addition to those that throttle
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

// attempts returns the total number of attempts for such a failure; 1: no retry.
func (f failure) attempts() int {
	_, known := byCode[f.code]
	if f.throttles() || repeatedCodes[f.code] || repeatedStatuses[f.status] && !known {
		return maxAttempts
	}
	return max(1, repeatedReasons[f.reason])
}

// throttles reports whether the answer's code asks for fewer requests.
func (f failure) throttles() bool { return byCode[f.code].kind == storage.ErrThrottled }

// unclear reports whether the server may have executed the request, or may still be
// executing it.
func (f failure) unclear() bool {
	switch {
	case f.status == 0:
		return f.reason != storage.ReasonConnectionRefused && f.reason != storage.ReasonNameNotResolved &&
			f.reason != storage.ReasonTLSNotTrusted && f.reason != storage.ReasonCredentialsFailed && f.reason != storage.ReasonProxyRefused
	case f.throttles():
		return false
	}
	return f.status >= 500
}

// unclear reports whether a request with this error may have been executed.
func unclear(err error) bool { return err != nil && failureOf(err, time.Time{}).unclear() }

// decide says whether a request is retried after its nth attempt (from 1) failed, and
// after which wait. jitter is from 0 to 1, left the rest of the caller's time: a wait
// that exceeds it is not started.
func decide(f failure, nth int, jitter float64, left time.Duration) (wait time.Duration, again bool) {
	if nth >= f.attempts() || f.after > maxRetryAfter {
		return 0, false
	}
	wait = f.after + retries.Delay(nth, jitter)
	return wait, wait < left
}

// again waits after the nth attempt of a request failed, and reports whether to
// retry; otherwise err is final.
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

// try makes a request until it succeeds or must not be retried, and returns the SDK's
// last error. Before it retries a request that may have been executed, it calls done,
// if set: true means success. If done itself fails, try returns the first error.
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

// call is try for a call of the client that is safe to retry and has no body (or a
// new one for each attempt). Errors are the SDK's.
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
	// budgetReserve is the number of retries available at the start: all
	// requests in flight when a server restarts.
	budgetReserve = 64
	// budgetShare is what each request adds, budgetRate what each second adds.
	budgetShare = 0.1
	budgetRate  = 1
)

// budget bounds the number of retries to about a tenth of the requests. In an outage
// each request is then made once, and its failure is returned. The zero value is a
// full budget.
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

// spend takes one retry out of the budget, if one is left.
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
