package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/mem"
)

// ledger is a small one in memory: pages of ten.
type ledger struct {
	mu       sync.Mutex
	all      []verify.Location
	recorded []verify.Found
	onRecord func() error
	onList   func() error
}

const pageSize = 10

func (l *ledger) List(_ context.Context, _ bool, after string) (verify.Page, error) {
	if l.onList != nil && after != "" {
		if err := l.onList(); err != nil {
			return verify.Page{}, err
		}
	}
	from, _ := strconv.Atoi(after)
	to := min(from+pageSize, len(l.all))
	page := verify.Page{Position: uint64(100 + from), Locations: l.all[from:to]}
	if after == "" {
		page.Objects = int64(len(l.all))
	}
	if to < len(l.all) {
		page.Next = strconv.Itoa(to)
	}
	return page, nil
}

func (l *ledger) Record(ctx context.Context, found verify.Found) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.onRecord != nil {
		if err := l.onRecord(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.recorded = append(l.recorded, verify.Found{Position: found.Position, Verified: slices.Clone(found.Verified), Failed: slices.Clone(found.Failed), Unreadable: slices.Clone(found.Unreadable)})
	return nil
}

func (l *ledger) verified() (n int) {
	for _, found := range l.recorded {
		n += len(found.Verified)
	}
	return n
}

// world is n blobs in memory and a ledger that has them.
func world(t *testing.T, n int) (*ledger, *mem.Backend) {
	t.Helper()
	l, store := &ledger{}, mem.New()
	for i := range n {
		content := fmt.Sprint("content ", i)
		info, err := store.Put(t.Context(), storage.Source{Reader: strings.NewReader(content), Size: int64(len(content))})
		if err != nil {
			t.Fatal(err)
		}
		l.all = append(l.all, verify.Location{Want: verify.Want{Digests: info.Digests, Size: info.Size}})
	}
	return l, store
}

func same(context.Context) error { return nil }

// failing gives an error, or other bytes, for some blobs.
type failing struct {
	verify.Source
	get func(name digest.Digest) (io.ReadCloser, error) // both nil: as the source
}

func (f *failing) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	if body, err := f.get(name); body != nil || err != nil {
		return body, storage.Info{}, err
	}
	return f.Source.Get(ctx, name, rng)
}

func TestRunBatchesWhatIsRight(t *testing.T) {
	t.Parallel()
	l, store := world(t, 2*verify.MaxVerified+500)
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: store, Same: same})
	if err != nil || !report.Done || report.Verified != int64(len(l.all)) {
		t.Fatalf("%+v, %v", report, err)
	}
	if len(l.recorded) != 3 || l.verified() != len(l.all) {
		t.Fatalf("%d records of %d blobs", len(l.recorded), l.verified())
	}
	// Whatever came from whichever page is no newer than the oldest page among it.
	pages := map[digest.Digest]uint64{}
	for i, location := range l.all {
		pages[location.Digests.SHA256] = uint64(100 + i/pageSize*pageSize)
	}
	for _, found := range l.recorded {
		least := pages[found.Verified[0]]
		for _, d := range found.Verified {
			least = min(least, pages[d])
		}
		if found.Position != least {
			t.Errorf("listed at %d, want %d", found.Position, least)
		}
	}
}

// The three findings are three, and what could not be read is none of them.
func TestRunTellsFindingsApart(t *testing.T) {
	t.Parallel()
	l, store := world(t, 30)
	missing, corrupt, away := l.all[3].Digests.SHA256, l.all[13].Digests.SHA256, l.all[23].Digests.SHA256
	source := &failing{Source: store, get: func(name digest.Digest) (io.ReadCloser, error) {
		switch name {
		case missing:
			return nil, storage.ErrNotFound
		case corrupt:
			return io.NopCloser(strings.NewReader("content XX")), nil
		case away:
			return nil, storage.ErrUnreachable
		}
		return nil, nil
	}}
	var unread []verify.Result
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: source, Same: same, Unread: func(r verify.Result) { unread = append(unread, r) }})
	if err != nil || !report.Done || report.Verified != 27 || report.Missing != 1 || report.Corrupt != 1 || report.Unreachable != 1 || report.CheckedObjects != 29 {
		t.Errorf("%+v, %v", report, err)
	}
	failed := map[digest.Digest]string{}
	for _, found := range l.recorded {
		for _, f := range found.Failed {
			failed[f.SHA256] = f.Reason
		}
	}
	if len(failed) != 2 || failed[missing] != "missing" || failed[corrupt] != "corrupt" || l.verified() != 27 {
		t.Errorf("recorded %v and %d verified", failed, l.verified())
	}
	if len(unread) != 1 || unread[0].Digests.SHA256 != away {
		t.Errorf("unread: %+v", unread)
	}
}

// What a connection does once is no finding: bytes that look bad are read again.
func TestRunReadsTwiceWhatLooksBad(t *testing.T) {
	t.Parallel()
	l, store := world(t, 3)
	var mu sync.Mutex
	seen := map[digest.Digest]int{}
	source := &failing{Source: store, get: func(name digest.Digest) (io.ReadCloser, error) {
		mu.Lock()
		defer mu.Unlock()
		switch seen[name]++; {
		case seen[name] > 1:
			return nil, nil
		case name == l.all[0].Digests.SHA256:
			return nil, storage.ErrNotFound
		default:
			return io.NopCloser(strings.NewReader("content X")), nil
		}
	}}
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: source, Same: same})
	if err != nil || report.Verified != 3 || report.Corrupt+report.Missing > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestRunEndsWhenThePlaceIsAway(t *testing.T) {
	t.Parallel()
	l, store := world(t, 1000)
	source := &failing{Source: store, get: func(digest.Digest) (io.ReadCloser, error) { return nil, storage.ErrUnreachable }}
	asked := 0
	away := func(context.Context) error {
		if asked++; asked > 1 { // it answered when the run began
			return storage.ErrUnreachable
		}
		return nil
	}
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: source, Same: away})
	if !errors.Is(err, storage.ErrUnreachable) || report.Done || report.Unreachable != 0 || report.CheckedObjects != 0 || len(l.recorded) > 0 || asked > 2 {
		t.Errorf("%+v, %v, recorded %v, asked %d times", report, err, l.recorded, asked)
	}
}

// What cannot be read in a place that answers does not keep the run from the rest.
func TestRunGoesOnPastWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	l, store := world(t, 301)
	unreadable := map[digest.Digest]bool{}
	for _, location := range l.all[:100] {
		unreadable[location.Digests.SHA256] = true
	}
	corrupt := l.all[300].Digests.SHA256
	long := strings.Repeat("ö", verify.MaxDetail)
	source := &failing{Source: store, get: func(name digest.Digest) (io.ReadCloser, error) {
		switch {
		case unreadable[name]:
			return nil, errors.New(long)
		case name == corrupt:
			return io.NopCloser(strings.NewReader("content XXX")), nil
		}
		return nil, nil
	}}
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: source, Same: same})
	if err != nil || !report.Done || report.Unreachable != 100 || report.Corrupt != 1 || report.Verified != 200 || l.verified() != 200 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, found := range l.recorded {
		for _, u := range found.Unreadable {
			if !unreadable[u.SHA256] || len(u.Detail) > verify.MaxDetail || !strings.HasPrefix(long, u.Detail) || u.Detail == "" {
				t.Errorf("recorded %+v", u)
			}
			delete(unreadable, u.SHA256)
		}
	}
	if len(unreadable) > 0 {
		t.Errorf("%d were not recorded", len(unreadable))
	}
}

// Where the place is another one, nothing is called missing.
func TestRunAsksWhoseThePlaceIs(t *testing.T) {
	t.Parallel()
	l, store := world(t, 30)
	foreign := errors.New("another place")
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: store, Same: func(context.Context) error { return foreign }})
	if !errors.Is(err, foreign) || report.CheckedObjects > 0 || len(l.recorded) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	asked := 0
	report, err = verify.Run(t.Context(), verify.Task{Ledger: l, Options: verify.Options{Concurrency: 1},
		Source: &failing{Source: store, get: func(name digest.Digest) (io.ReadCloser, error) {
			if name == l.all[20].Digests.SHA256 {
				return nil, storage.ErrNotFound
			}
			return nil, nil
		}},
		Same: func(context.Context) error {
			if asked++; asked > 1 {
				return foreign
			}
			return nil
		}})
	if !errors.Is(err, foreign) || report.Missing > 0 || report.Verified != 20 || l.verified() != 20 {
		t.Errorf("%+v, %v, %d verified", report, err, l.verified())
	}
}

func TestRunTimeLimit(t *testing.T) {
	t.Parallel()
	l, store := world(t, 100)
	release := make(chan struct{})
	read := 0
	source := &failing{Source: store, get: func(digest.Digest) (io.ReadCloser, error) {
		if read++; read == 5 { // the fifth takes until the limit has passed
			<-release
		}
		return nil, nil
	}}
	timer := time.AfterFunc(verify.MinDuration+200*time.Millisecond, func() { close(release) })
	defer timer.Stop()
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: source, Same: same, Options: verify.Options{Concurrency: 1, TimeLimit: verify.MinDuration}})
	if err != nil || !report.Done || !report.TimeLimitReached || report.Verified != 5 || l.verified() != 5 {
		t.Errorf("%+v, %v: want what was begun before the limit", report, err)
	}
}

func TestRunThatCannotList(t *testing.T) {
	t.Parallel()
	l, store := world(t, 30)
	away := errors.New("the registry is away")
	l.onList = func() error { return away }
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: store, Same: same})
	if !errors.Is(err, away) || report.Done || report.Error == "" {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestRunThatCannotRecord(t *testing.T) {
	t.Parallel()
	l, store := world(t, 30)
	away := errors.New("the registry is away")
	l.onRecord = func() error { return away }
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: store, Same: same})
	if !errors.Is(err, away) || report.Done || report.Error == "" {
		t.Errorf("%+v, %v: what nobody took down is not done", report, err)
	}
}

// The last report goes out although the run was told to end.
func TestRunRecordsWhatItFoundBeforeItsEnd(t *testing.T) {
	t.Parallel()
	l, store := world(t, 30)
	ctx, cancel := context.WithCancel(t.Context())
	report, err := verify.Run(ctx, verify.Task{Ledger: l, Source: store, Same: same, Options: verify.Options{Concurrency: 1}, Progress: func(r verify.Report) {
		if r.CheckedObjects == 9 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || report.Done || report.CheckedObjects != 9 || l.verified() != 9 {
		t.Errorf("%+v, %v, %d recorded", report, err, l.verified())
	}
}

func TestRunOfNothing(t *testing.T) {
	t.Parallel()
	l, store := world(t, 0)
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: store, Same: same})
	if err != nil || !report.Done || len(l.recorded) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	// A listing that names objects and then shows none is not right.
	broken := &lying{l}
	report, err = verify.Run(t.Context(), verify.Task{Ledger: broken, Source: store, Same: same})
	if err == nil || report.Done {
		t.Errorf("%+v, %v", report, err)
	}
}

type lying struct{ *ledger }

func (lying) List(context.Context, bool, string) (verify.Page, error) {
	return verify.Page{Objects: 5}, nil
}

func TestRunBandwidth(t *testing.T) {
	t.Parallel()
	l, store := &ledger{}, mem.New()
	const blob, blobs, perSecond = 200 << 10, 4, 512 << 10
	for i := range blobs {
		info, err := store.Put(t.Context(), storage.Source{Reader: bytes.NewReader(bytes.Repeat([]byte{byte(i)}, blob)), Size: blob})
		if err != nil {
			t.Fatal(err)
		}
		l.all = append(l.all, verify.Location{Want: verify.Want{Digests: info.Digests, Size: info.Size}})
	}
	began := time.Now()
	report, err := verify.Run(t.Context(), verify.Task{Ledger: l, Source: store, Same: same, Options: verify.Options{Bandwidth: perSecond}})
	took := time.Since(began)
	// One burst of 64 KiB is free.
	least := time.Duration(float64(blob*blobs-64<<10) / perSecond * float64(time.Second))
	if err != nil || report.Verified != blobs || took < least {
		t.Errorf("%+v, %v: %d bytes took %s, want at least %s", report, err, blob*blobs, took, least)
	}
}
