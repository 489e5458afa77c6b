package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for _, test := range []struct {
		name  string
		f     failure
		nth   int
		left  time.Duration
		wait  time.Duration // with a jitter of 1; -1: final
		maybe bool          // the request may have been executed
	}{
		{"refused", failure{reason: storage.ReasonConnectionRefused}, 1, hour, retries.First, false},
		{"reset", failure{reason: storage.ReasonConnectionLost}, 1, hour, retries.First, true},
		{"reset, second", failure{reason: storage.ReasonConnectionLost}, 2, hour, 2 * retries.First, true},
		{"reset, last", failure{reason: storage.ReasonConnectionLost}, maxAttempts, hour, -1, true},
		{"reset, no time", failure{reason: storage.ReasonConnectionLost}, 1, retries.First, -1, true},
		{"timed out", failure{reason: storage.ReasonTimedOut}, 1, hour, retries.First, true},
		{"timed out twice", failure{reason: storage.ReasonTimedOut}, 2, hour, -1, true},
		{"no such name", failure{reason: storage.ReasonNameNotResolved}, 1, hour, retries.First, false},
		{"no such name twice", failure{reason: storage.ReasonNameNotResolved}, 2, hour, -1, false},
		{"TLS not trusted", failure{reason: storage.ReasonTLSNotTrusted}, 1, hour, -1, false},
		{"no TLS", failure{reason: storage.ReasonTLSFailed}, 1, hour, -1, true},
		{"no credentials", failure{reason: storage.ReasonCredentialsFailed}, 1, hour, -1, false},
		{"not S3", failure{reason: storage.ReasonNotS3}, 1, hour, -1, true},
		{"unknown", failure{reason: storage.ReasonUnknown}, 1, hour, -1, true},

		{"500", failure{status: 500}, 1, hour, retries.First, true},
		{"502", failure{status: 502}, 3, hour, 4 * retries.First, true},
		{"503", failure{status: 503, code: "ServiceUnavailable"}, 1, hour, retries.First, true},
		{"504", failure{status: 504}, 1, hour, retries.First, true},
		{"429", failure{status: 429}, 1, hour, retries.First, false},
		{"too many, as 503", failure{status: 503, code: "TooManyRequests"}, 1, hour, retries.First, false},
		{"drives lost", failure{status: 503, code: "SlowDownWrite"}, 1, hour, retries.First, true},
		{"slow down", failure{status: 503, code: "SlowDown"}, 1, hour, retries.First, false},
		{"slow down, 3 s", failure{status: 503, code: "SlowDown", after: 3 * time.Second}, 1, hour, 3*time.Second + retries.First, false},
		{"slow down, a day", failure{status: 503, code: "SlowDown", after: 24 * hour}, 1, 48 * hour, -1, false},
		{"slow down, does not fit", failure{status: 503, code: "SlowDown", after: 3 * time.Second}, 1, 3 * time.Second, -1, false},
		{"body too slow", failure{status: 400, code: "RequestTimeout"}, 1, hour, retries.First, false},
		{"another is at it", failure{status: 409, code: "OperationAborted"}, 1, hour, retries.First, false},
		{"wrong MD5 or CRC", failure{status: 400, code: "BadDigest"}, 1, hour, retries.First, false},
		{"wrong SHA-256", failure{status: 400, code: "XAmzContentSHA256Mismatch"}, 1, hour, retries.First, false},
		{"wrong checksum", failure{status: 400, code: "XAmzContentChecksumMismatch"}, 1, hour, retries.First, false},
		{"short body", failure{status: 400, code: "IncompleteBody"}, 1, hour, retries.First, false},

		{"400", failure{status: 400, code: "InvalidArgument"}, 1, hour, -1, false},
		{"expired token", failure{status: 400, code: "ExpiredToken"}, 1, hour, -1, false},
		{"403", failure{status: 403}, 1, hour, -1, false},
		{"denied", failure{status: 403, code: "AccessDenied"}, 1, hour, -1, false},
		{"403, interrupted", failure{status: 403, reason: storage.ReasonConnectionLost}, 1, hour, retries.First, false},
		{"500, interrupted", failure{status: 500, reason: storage.ReasonConnectionLost}, 1, hour, retries.First, true},
		{"404", failure{status: 404, code: "NoSuchKey"}, 1, hour, -1, false},
		{"412", failure{status: 412, code: "PreconditionFailed"}, 1, hour, -1, false},
		{"501", failure{status: 501, code: "NotImplemented"}, 1, hour, -1, true},
		{"507", failure{status: 507, code: "XMinioStorageFull"}, 1, hour, -1, true},
		{"full, as 503", failure{status: 503, code: "QuotaExceeded"}, 1, hour, -1, true},
	} {
		wait, again := decide(test.f, test.nth, 1, test.left)
		if again != (test.wait >= 0) || again && wait != test.wait {
			t.Errorf("%s: %v, %v", test.name, wait, again)
		}
		if again {
			if wait, _ := decide(test.f, test.nth, 0, test.left); wait != test.f.after {
				t.Errorf("%s: without jitter %v", test.name, wait)
			}
		}
		if test.f.unclear() != test.maybe {
			t.Errorf("%s: unclear is %v", test.name, !test.maybe)
		}
	}
	for nth := range 100 {
		if wait, _ := decide(failure{status: 500}, nth+1, 1, hour); wait > retries.Most {
			t.Errorf("attempt %d waits %v", nth+1, wait)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

// TestBudget: a reserve, then a tenth of the requests plus one per second.
func TestBudget(t *testing.T) {
	t.Parallel()
	var b budget
	now := time.Now()
	spend := func() (n int) {
		for b.spend(now) {
			n++
		}
		return n
	}
	if got := spend(); got != budgetReserve {
		t.Errorf("%d of the reserve", got)
	}
	for range 1005 {
		b.earn(now)
		first, second := b.spend(now), b.spend(now)
		if first && second {
			t.Fatal("two repetitions for one request")
		}
	}
	b.spent = budgetReserve
	for range 205 {
		b.earn(now)
	}
	if got := spend(); got != 20 {
		t.Errorf("%d for 205 requests", got)
	}
	now = now.Add(5 * time.Second)
	if got := spend(); got < 5 || got > 6 { // the remaining half counts
		t.Errorf("%d after 5 s", got)
	}
	now = now.Add(time.Hour)
	if got := spend(); got != budgetReserve {
		t.Errorf("%d after an hour", got)
	}
}

// answering is a Backend whose server runs handle.
func answering(t *testing.T, handle http.HandlerFunc) *Backend {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	b, err := New(Config{
		EndpointURL: server.URL, Bucket: "bucket",
		AccessKey: storage.NewSecret("a"), SecretKey: storage.NewSecret("s"),
	}, buffer.New(16<<20, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func head(ctx context.Context, b *Backend) error {
	_, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key("k")})
	return err
}

// TestOutage: the budget bounds the cost of an outage, and the reported error is the
// outage.
func TestOutage(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	})
	const requests = 400
	errs := make(chan error, requests)
	for range requests {
		go func() { errs <- b.failed(t.Context(), "head", head(t.Context(), b)) }()
	}
	for range requests {
		if err := <-errs; !errors.Is(err, storage.ErrUnreachable) || storage.ReasonOf(err) != storage.ReasonServerFailed {
			t.Errorf("%v", err)
		}
	}
	if most := int64(requests + requests/10 + budgetReserve + 30); asked.Load() > most || asked.Load() < requests+budgetReserve/2 {
		t.Errorf("%d requests became %d, at most %d wanted", requests, asked.Load(), most)
	}
}

// TestRetryAfterThatDoesNotFit: the failure is returned immediately, with its own reason.
func TestRetryAfterThatDoesNotFit(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
		} else {
			w.Header().Set("Retry-After", "15")
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	start := time.Now()
	err := b.failed(ctx, "head", head(ctx, b))
	if took := time.Since(start); took < time.Second || took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if storage.ReasonOf(err) != storage.ReasonServerFailed || asked.Load() != 2 { // as far as a head can tell
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
}

// TestTryLooksFirst: only a request that may have been executed is checked before it
// is retried.
func TestTryLooksFirst(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		status          int
		done            bool
		checking        error
		attempts, looks int
		fails           bool
	}{
		{"it was done", 500, true, nil, 1, 1, false},
		{"it was not", 500, false, nil, 2, 1, false},
		{"nobody knows", 500, false, errors.New("denied"), 1, 1, true},
		{"throttled", 429, true, nil, 2, 0, false},
		{"final", 403, true, nil, 1, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", `"tag"`)
				if asked.Add(1) == 1 {
					w.WriteHeader(test.status)
				}
			})
			looks := 0
			err := b.try(t.Context(), func(ctx context.Context) error {
				_, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key("k")})
				return err
			}, func(context.Context) (bool, error) {
				looks++
				return test.done, test.checking
			})
			if (err != nil) != test.fails || int(asked.Load()) != test.attempts || looks != test.looks {
				t.Errorf("%v after %d attempts and %d looks", err, asked.Load(), looks)
			}
			if err != nil && statusOf(err) != test.status {
				t.Errorf("reported is %v", err)
			}
		})
	}
}
