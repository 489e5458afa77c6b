package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// faultTimeout is the requestTimeout of backends behind a proxy: short, but
	// sufficient on a busy machine.
	faultTimeout = 3 * time.Second
	// faultDeadline is the caller's: time for a stall in each of two attempts and
	// for what follows, ten cases in parallel on a busy machine.
	faultDeadline = time.Minute
	// faultSlack is how long after its deadline a call may return: it cleans up
	// with requests that may stall as well.
	faultSlack = 4 * time.Second
	// settleTime bounds what continues after a call has returned: an answer that
	// nobody waits for any more, and the proxy's report of it.
	settleTime = 15 * time.Second
)

// outcome is the required result of a fault, beyond what every call must satisfy.
type outcome string

const (
	either   outcome = "either"
	succeeds outcome = "succeeds"
	fails    outcome = "fails"
)

// faultCase is one fault in one call.
type faultCase struct {
	name   string
	faults []faultproxy.Fault
	want   outcome
	kind   error  // of a failure; nil for any that has a type
	reason string // of a failure; empty for any
	leaves bool   // the server may hold objects that the driver does not know
}

// bed is the bucket of the cases, each of which has a prefix.
type bed struct {
	server servers.S3Server
	proxy  func(testing.TB, string) *faultproxy.Proxy
	next   atomic.Int64
	mode   s3.Checksums // of the backends
}

// inParallel runs cases in parallel, because most of them wait; testing's own limit is
// the number of processors.
func inParallel[T any](t *testing.T, cases []T, name func(T) string, run func(*testing.T, T)) {
	t.Helper()
	var all sync.WaitGroup
	free := make(chan struct{}, 10)
	for _, c := range cases {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			t.Run(name(c), func(t *testing.T) { run(t, c) })
		})
	}
	all.Wait()
}

// faulted is a backend behind a proxy.
type faulted struct {
	*s3.Backend
	bed    *bed
	proxy  *faultproxy.Proxy
	config s3.Config
	label  string
}

// do runs a call so that the goroutines it starts can be recognized: they inherit the
// label.
func (f *faulted) do(ctx context.Context, call func(context.Context) error) (err error) {
	pprof.Do(ctx, pprof.Labels("faulted", f.label), func(ctx context.Context) { err = call(ctx) })
	return err
}

// behind opens a backend behind a proxy of its own, lets run use it, and checks that
// nothing is left: no buffer, no goroutine, no connection.
func (place *bed) behind(t *testing.T, prefix string, run func(context.Context, *faulted)) {
	t.Helper()
	p := place.proxy(t, place.server.Endpoint)
	config := configFor(place.server)
	config.EndpointURL, config.RequestTimeout, config.KeyPrefix = p.URL, faultTimeout, prefix
	config.Checksums = place.mode
	config.CABundle, config.MultipartThresholdBytes = place.server.CA, s3.MinMultipartChunkBytes
	pool := buffer.New(16<<20, 8<<20)
	label := fmt.Sprintf("%s %p", t.Name(), p)
	b, err := s3.New(config, pool)
	if err != nil {
		t.Fatal(err)
	}
	run(t.Context(), &faulted{b, place, p, config, label})
	b.Close()
	if held := pool.InUse() + pool.Small().InUse(); held != 0 {
		t.Errorf("%d buffers never came back", held)
	}
	settles(t, func() string {
		if open := p.Open(); open != 0 {
			return fmt.Sprintf("%d connections are open after %+v", open, p.Exchanges())
		}
		return ""
	})
	settles(t, func() string { return running(label) })
}

// running returns the stacks of goroutines that carry the label.
func running(label string) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err.Error()
	}
	var found []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, fmt.Sprintf("%q", label)) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

// settles waits until nothing is wrong any more.
func settles(t *testing.T, wrong func() string) {
	t.Helper()
	// Rarely: with hundreds of goroutines each check is expensive.
	for end, pause := time.Now().Add(settleTime), 50*time.Millisecond; ; pause = min(2*pause, 800*time.Millisecond) {
		what := wrong()
		if what == "" {
			return
		}
		if time.Now().After(end) {
			t.Errorf("in the end: %s", what)
			return
		}
		time.Sleep(pause)
	}
}

// inTime calls with a deadline and checks how the call ended.
func (f *faulted) inTime(ctx context.Context, t *testing.T, c faultCase, call func(context.Context) error) error {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, faultDeadline)
	defer cancel()
	err := f.do(ctx, call)
	if took := time.Since(began); took > faultDeadline+faultSlack {
		t.Errorf("it took %s: %v", took, err)
	}
	if f.proxy.Struck() == 0 {
		t.Errorf("nothing went wrong: %+v", f.proxy.Exchanges())
	}
	switch {
	case err == nil && c.want == fails:
		t.Error("it succeeded")
	case err != nil && c.want == succeeds:
		t.Errorf("%v (%s) after %+v", err, storage.ReasonOf(err), f.proxy.Exchanges())
	case err != nil && (c.kind != nil && !errors.Is(err, c.kind) || c.reason != "" && storage.ReasonOf(err) != c.reason):
		t.Errorf("%v (%s), want %v %s", err, storage.ReasonOf(err), c.kind, c.reason)
	}
	mustBeTyped(t, err, f.config)
	return err
}

// mustBeTyped: callers decide by sentinels and reasons, and messages contain no secrets.
func mustBeTyped(t *testing.T, err error, config s3.Config) {
	t.Helper()
	if err == nil {
		return
	}
	typed := errors.As(err, new(*storage.PlaceError))
	for _, kind := range []error{storage.ErrNotFound, storage.ErrMismatch, storage.ErrRange, storage.ErrUnreachable, storage.ErrDenied,
		storage.ErrNoPlace, storage.ErrFull, storage.ErrThrottled, storage.ErrTooLarge, storage.ErrSource} {
		typed = typed || errors.Is(err, kind)
	}
	if reason := storage.ReasonOf(err); !typed || reason == storage.ReasonUnknown {
		t.Errorf("an error without a type (%s): %#v", reason, err)
	}
	for _, secret := range []string{config.SecretKey.Reveal(), config.AccessKey.Reveal(), "X-Amz", "Signature=", "http://", "https://"} {
		if strings.Contains(fmt.Sprintf("%v %+v %q", err, err, err), secret) {
			t.Errorf("the error holds %q: %+v", secret, err)
		}
	}
}

// objects lists the keys below a prefix, bypassing the proxy.
func (place *bed) objects(t *testing.T, prefix string) []string {
	t.Helper()
	found, err := place.server.Client().ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{
		Bucket: &place.server.Bucket, Prefix: aws.String(prefix + "/"),
	})
	if err != nil {
		t.Error(err)
		return nil
	}
	keys := []string{}
	for _, object := range found.Contents {
		keys = append(keys, strings.TrimPrefix(aws.ToString(object.Key), prefix+"/"))
	}
	return keys
}

// uploads lists unfinished uploads of these keys, by exact key: some servers list no
// others.
func (place *bed) uploads(t *testing.T, keys map[string]bool) []string {
	t.Helper()
	var found []string
	for key := range keys {
		uploads, err := place.server.Client().ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{
			Bucket: &place.server.Bucket, Prefix: &key,
		})
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, upload := range uploads.Uploads {
			found = append(found, aws.ToString(upload.Key))
		}
	}
	return found
}

// hashOf reads an object, bypassing the proxy.
func (place *bed) hashOf(t *testing.T, key string) (digest.Dual, int64, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer, err := place.server.Client().GetObject(ctx, &sdk.GetObjectInput{Bucket: &place.server.Bucket, Key: &key})
	if err != nil {
		return digest.Dual{}, 0, err
	}
	defer answer.Body.Close()
	return digest.Copy(discard{}, answer.Body)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// empty deletes what is below a prefix.
func (place *bed) empty(t *testing.T, prefix string) {
	t.Helper()
	for _, key := range place.objects(t, prefix) {
		if _, err := place.server.Client().DeleteObject(t.Context(), &sdk.DeleteObjectInput{
			Bucket: &place.server.Bucket, Key: aws.String(prefix + "/" + key),
		}); err != nil {
			t.Error(err)
		}
	}
}
