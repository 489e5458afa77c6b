package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	frozenFor = 30 * time.Second
	// frozenDeadline of each call: time for two attempts by faultTimeout, and for calls
	// begun before the thaw to end after it.
	frozenDeadline = 8 * time.Second
	// thawTime is how long a cluster may take to recover.
	thawTime = 2 * time.Minute
)

// whileFrozen holds the results of the calls of TestFrozenForLong.
type whileFrozen struct {
	*faulted
	t     *testing.T
	until time.Time

	mu     sync.Mutex
	tried  [][]byte // the blobs whose Put was tried
	failed int
}

// again repeats calls until the thaw: each ends in time, successfully or with an error that says why.
func (w *whileFrozen) again(ctx context.Context, name string, call func(ctx context.Context, nth int) error) {
	for nth := 0; time.Now().Before(w.until); nth++ {
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, frozenDeadline)
		err := w.do(ctx, func(ctx context.Context) error { return call(ctx, nth) })
		cancel()
		if took := time.Since(began); took > frozenDeadline+faultSlack {
			w.t.Errorf("%s took %s: %v", name, took, err)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, storage.ErrUnreachable) || storage.ReasonOf(err) != storage.ReasonTimedOut {
			w.t.Errorf("%s: %v (%s)", name, err, storage.ReasonOf(err))
		}
		w.mu.Lock()
		w.failed++
		w.mu.Unlock()
	}
}

// put stores a new blob per call; the blobs reported as stored are checked at the end.
func (w *whileFrozen) put(known bool, seed uint64, size int64) func(context.Context, int) error {
	return func(ctx context.Context, nth int) error {
		data := storagetest.Bytes(seed+uint64(nth), size) //nolint:gosec // a small number
		w.mu.Lock()
		w.tried = append(w.tried, data)
		w.mu.Unlock()
		src := source(data)
		if !known {
			src.Size, src.Want = storage.UnknownSize, digest.Dual{}
		}
		info, err := w.Put(ctx, src)
		if err == nil && info.Digests != digest.Of(data) {
			w.t.Errorf("it stored %s", info.Digests)
		}
		return err
	}
}

func (w *whileFrozen) get(want []byte) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		r, _, err := w.Get(ctx, storageDigest(want), nil)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if !bytes.HasPrefix(want, got) || err == nil && len(got) != len(want) {
			w.t.Errorf("%d other bytes came back than the %d that were put: %v", len(got), len(want), err)
		}
		return err
	}
}

// sweep removes everything that is not a blob, and returns what it found.
func (w *whileFrozen) sweep(ctx context.Context) (found []string, err error) {
	for orphan, err := range w.Orphans(ctx) {
		if err != nil {
			return found, err
		}
		found = append(found, fmt.Sprint(orphan.Kind, " ", orphan.Key))
		if err := w.RemoveOrphan(ctx, orphan); err != nil {
			return found, err
		}
	}
	return found, nil
}

// TestFrozenForLong: the disks of a Ceph cluster stop for half a minute while clients
// put and get. Each call ends in time, with the right bytes or a timeout. After the
// thaw everything works as before; a sweep removes everything that interrupted calls
// left, and nothing else.
func TestFrozenForLong(t *testing.T) {
	t.Parallel()
	cluster := servers.OwnRGW(t)
	place := &bed{server: cluster.Bucket(t, false), proxy: faultproxy.HTTP}
	const prefix = "frozen-for-long"
	place.behind(t, prefix, func(ctx context.Context, b *faulted) {
		small, large := storagetest.Bytes(51, 1000), storagetest.Bytes(52, 6<<20)
		for _, data := range [][]byte{small, large} {
			if _, err := b.Put(ctx, source(data)); err != nil {
				t.Fatal(err)
			}
		}
		cluster.Freeze(t)
		w := &whileFrozen{faulted: b, t: t, until: time.Now().Add(frozenFor)}
		var all sync.WaitGroup
		for name, call := range map[string]func(context.Context, int) error{
			"Put":                   w.put(true, 1000, 3000),
			"Put in parts":          w.put(true, 2000, 6<<20),
			"Put of unknown digest": w.put(false, 3000, 6<<20),
			"Get":                   w.get(small),
			"Get of much":           w.get(large),
		} {
			all.Go(func() { w.again(ctx, name, call) })
		}
		thaw := time.NewTimer(frozenFor)
		defer thaw.Stop()
		<-thaw.C
		cluster.Thaw(t)
		all.Wait()
		if w.failed == 0 {
			t.Error("nothing failed: it was not frozen")
		}

		// The cluster still works on the requests that it had received.
		recovered := time.Now().Add(thawTime)
		for _, data := range append(w.tried, small, large) {
			for {
				err := b.do(ctx, func(ctx context.Context) error { _, err := b.Put(ctx, source(data)); return err })
				if err == nil {
					break
				}
				if time.Now().After(recovered) {
					t.Fatalf("after the thaw: %v (%s)", err, storage.ReasonOf(err))
				}
			}
		}
		settles(t, func() string {
			if _, err := w.sweep(ctx); err != nil {
				return err.Error()
			}
			if left, err := w.sweep(ctx); err != nil || len(left) > 0 {
				return fmt.Sprintf("a sweep leaves %q, %v", left, err)
			}
			return ""
		})
		blobs := 0
		for info, err := range b.List(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if got, size, err := place.hashOf(t, prefix+"/"+storage.Key(info.Digests.SHA256)); err != nil || got.SHA256 != info.Digests.SHA256 {
				t.Errorf("under the key of %s lie %d bytes of %s: %v", info.Digests.SHA256, size, got.SHA256, err)
			}
			blobs++
		}
		if want := len(w.tried) + 2; blobs != want {
			t.Errorf("there are %d blobs of %d", blobs, want)
		}
		t.Logf("%d calls timed out; %d blobs, all right", w.failed, blobs)
	})
}

// TestFrozenServer: a server whose disks have stopped accepts requests and answers
// none. Each call ends by requestTimeout, and calls succeed again after the thaw.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	cluster := servers.OwnRGW(t)
	place := &bed{server: cluster.Bucket(t, false), proxy: faultproxy.HTTP}
	way := ways()[1]
	small, more := storagetest.Bytes(31, 1000), storagetest.Bytes(32, 1000)
	const prefix, deadline = "frozen", 5 * time.Second
	place.behind(t, prefix, func(ctx context.Context, b *faulted) {
		put := func(data []byte) func(context.Context) error {
			return func(ctx context.Context) error { _, err := b.Put(ctx, source(data)); return err }
		}
		for _, data := range [][]byte{small, way.data} {
			if err := put(data)(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cluster.Freeze(t)
		type verb struct {
			name string
			call func(context.Context) error
		}
		inParallel(t, []verb{
			{"Put", put(more)},
			{"Put in parts", put(way.data[1:])},
			{"Get", func(ctx context.Context) error {
				r, _, err := b.Get(ctx, way.want.SHA256, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
				return err
			}},
			{"Head", func(ctx context.Context) error { _, err := b.Head(ctx, storageDigest(small)); return err }},
			{"Health", b.Health},
		}, func(v verb) string { return v.name }, func(t *testing.T, v verb) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			err := b.do(ctx, v.call)
			if took := time.Since(began); took > deadline+faultSlack || !errors.Is(err, storage.ErrUnreachable) || storage.ReasonOf(err) != storage.ReasonTimedOut {
				t.Errorf("after %s: %v (%s)", took, err, storage.ReasonOf(err))
			}
		})
		cluster.Thaw(t)
		for _, data := range [][]byte{small, more, way.data, way.data[1:]} {
			// The server still works on the requests that it had received.
			settles(t, func() string {
				if err := b.do(ctx, put(data)); err != nil {
					return err.Error()
				}
				return ""
			})
			if got, _, err := place.hashOf(t, prefix+"/"+storage.Key(storageDigest(data))); err != nil || got != digest.Of(data) {
				t.Errorf("after the thaw: %s, %v", got, err)
			}
		}
	})
}

// TestFrozenAtTheEnd: a server that stops while it completes an upload, for longer
// than the timeout, has created the object when it continues. That is a success: the
// upload is neither aborted nor left behind.
func TestFrozenAtTheEnd(t *testing.T) {
	t.Parallel()
	cluster := servers.OwnRGW(t)
	server := cluster.Bucket(t, false)
	var frozen atomic.Bool
	config := between{on: func(_ http.ResponseWriter, r *http.Request) bool {
		if faultproxy.KindOf(r) == faultproxy.CompleteMultipartUpload && frozen.CompareAndSwap(false, true) {
			cluster.Freeze(t)
			time.AfterFunc(9*time.Second, func() { cluster.Thaw(t) })
		}
		return false
	}}.config(t, server)
	config.RequestTimeout = 2 * time.Second
	b := open(t, server, config, buffer.New(64<<20, 8<<20))
	data := storagetest.Bytes(1, 3*threshold)
	if _, err := b.Put(t.Context(), source(data)); err != nil {
		t.Errorf("Put: %v", err)
	}
	if got := read(t, b, storageDigest(data)); !frozen.Load() || !bytes.Equal(got, data) {
		t.Errorf("frozen: %v; %d of %d bytes came back", frozen.Load(), len(got), len(data))
	}
	left, err := server.Client().ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket})
	if err != nil || len(left.Uploads) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
