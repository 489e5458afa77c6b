package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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

// TestFaultsOfTLS: over https any fault in the bytes on the wire, in either
// direction, is as a connection that broke or that stands still: the request is
// made again on another one, and nobody sees it. A turned bit is found by TLS.
// There is one that ends a call: a first byte that is none of TLS is taken for a
// server that does not speak it.
func TestFaultsOfTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			place := &bed{server: servers.S3On(t, kind, true), proxy: faultproxy.TCP}
			var (
				puts []putCase
				gets []getCase
			)
			ways := ways()
			for _, where := range []faultproxy.Where{faultproxy.InRequest, faultproxy.InAnswer} {
				for _, after := range []int64{0, 700, 200_000} {
					for _, action := range []faultproxy.Action{faultproxy.Reset, faultproxy.Stall, faultproxy.Truncate, faultproxy.Corrupt} {
						f := faultproxy.Fault{Where: where, After: after, Action: action}
						name := fmt.Sprintf("%s %s %d", action, where, after)
						c := faultCase{name: name, faults: []faultproxy.Fault{f}, want: succeeds}
						if action == faultproxy.Corrupt && where == faultproxy.InAnswer && after == 0 {
							c.want, c.kind, c.reason = fails, storage.ErrUnreachable, storage.ReasonTLSFailed
						}
						if where == faultproxy.InRequest || after < 1000 {
							puts = append(puts, putCase{c, ways[0]})
							if after > 1000 {
								c.name = "in parts " + name
								puts = append(puts, putCase{c, ways[1]})
							}
						}
						if where == faultproxy.InAnswer {
							c.name = "get " + name
							gets = append(gets, getCase{faultCase: c})
						}
					}
				}
			}
			inParallel(t, puts, func(c putCase) string { return c.name }, place.put)
			place.get(t, gets)
		})
	}
}

// TestFaultsElsewhere tries those that differ most on the other servers.
func TestFaultsElsewhere(t *testing.T) {
	t.Parallel()
	for _, kind := range []servers.S3Kind{servers.MinIO, servers.RGW} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			place := &bed{server: servers.S3On(t, kind, false), proxy: faultproxy.HTTP}
			inParallel(t, putCases(false), func(c putCase) string { return c.name }, place.put)
			place.get(t, getCases(false))
		})
	}
}

// TestExpiredCredentials: a session token that expires in the middle of an
// upload ends it with a reason that says so.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	place := &bed{server: servers.S3(t), proxy: faultproxy.HTTP}
	for _, w := range ways()[:3] {
		t.Run(w.name, func(t *testing.T) {
			place.behind(t, "expired/"+strings.ReplaceAll(w.name, " ", "-"), func(ctx context.Context, b *faulted) {
				// From the request after the first: the upload is begun, and cannot even be removed.
				nth := 2
				if w.name == "whole" {
					nth = 1
				}
				b.proxy.Arm(faultproxy.Fault{Key: "expired", Nth: nth, Always: true, Where: faultproxy.BeforeRequest,
					Action: faultproxy.Answer, Status: 400, Code: "ExpiredToken"})
				c := faultCase{want: fails, kind: storage.ErrDenied}
				err := b.inTime(ctx, t, c, func(ctx context.Context) error {
					_, err := b.Put(ctx, storage.Source{Reader: bytes.NewReader(w.data), Size: storage.UnknownSize})
					return err
				})
				if reason := storage.ReasonOf(err); reason != storage.ReasonCredentialsFailed {
					t.Errorf("%v (%s)", err, reason)
				}
			})
		})
	}
}

// TestThrottledForLong: a server that wants more time than the caller has is
// not waited for.
func TestThrottledForLong(t *testing.T) {
	t.Parallel()
	place := &bed{server: servers.S3(t), proxy: faultproxy.HTTP}
	place.behind(t, "throttled", func(ctx context.Context, b *faulted) {
		b.proxy.Arm(faultproxy.Fault{Key: "throttled", Always: true, Where: faultproxy.BeforeRequest,
			Action: faultproxy.Answer, Status: 503, Code: "SlowDown", RetryAfter: time.Hour})
		data := []byte("data")
		for verb, call := range map[string]func(context.Context) error{
			"Put": func(ctx context.Context) error { _, err := b.Put(ctx, source(data)); return err },
			"Get": func(ctx context.Context) error {
				_, _, err := b.Get(ctx, storageDigest(data), nil)
				return err
			},
			"Head":   func(ctx context.Context) error { _, err := b.Head(ctx, storageDigest(data)); return err },
			"Delete": func(ctx context.Context) error { return b.Delete(ctx, storageDigest(data)) },
		} {
			began := time.Now()
			err := b.inTime(ctx, t, faultCase{want: fails, kind: storage.ErrThrottled}, call)
			if took := time.Since(began); took > faultDeadline/2 {
				t.Errorf("%s took %s: %v", verb, took, err)
			}
		}
	})
}

// TestNoName: a host name that is not known ends a Put in time, and gives back what it held.
func TestNoName(t *testing.T) {
	t.Parallel()
	place := &bed{server: servers.S3(t), proxy: func(tb testing.TB, endpoint string) *faultproxy.Proxy {
		p := faultproxy.HTTP(tb, endpoint)
		p.URL = "http://no-such-host.invalid:9000"
		return p
	}}
	for _, w := range ways()[:3] {
		place.behind(t, "no-name", func(ctx context.Context, b *faulted) {
			ctx, cancel := context.WithTimeout(ctx, faultDeadline)
			defer cancel()
			err := b.do(ctx, func(ctx context.Context) error {
				_, err := b.Put(ctx, storage.Source{Reader: bytes.NewReader(w.data), Size: storage.UnknownSize})
				return err
			})
			if !errors.Is(err, storage.ErrUnreachable) || storage.ReasonOf(err) != storage.ReasonNameNotResolved {
				t.Errorf("%s: %v (%s)", w.name, err, storage.ReasonOf(err))
			}
		})
	}
}

// TestFrozenServer: a server whose disks have stopped takes requests and answers
// none. Each call ends by requestTimeout, and all is well once they go on.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	cluster := servers.OwnRGW(t)
	place := &bed{server: cluster.Bucket(t, false), proxy: faultproxy.HTTP}
	way := ways()[1]
	small, more := storagetest.Bytes(31, 1000), storagetest.Bytes(32, 1000)
	const (
		prefix         = "frozen"
		frozenDeadline = 5 * time.Second
	)
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
		// At once: an osd that is stopped for long is not one that the cluster takes back.
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
			ctx, cancel := context.WithTimeout(ctx, frozenDeadline)
			defer cancel()
			err := b.do(ctx, v.call)
			if took := time.Since(began); took > frozenDeadline+faultSlack || !errors.Is(err, storage.ErrUnreachable) || storage.ReasonOf(err) != storage.ReasonTimedOut {
				t.Errorf("after %s: %v (%s)", took, err, storage.ReasonOf(err))
			}
		})
		cluster.Thaw(t)
		for _, data := range [][]byte{small, more, way.data, way.data[1:]} {
			// What it had in hand it still works on.
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

// TestFrozenAtTheEnd: a server that stands still while it completes an upload,
// for longer than its time-out, has made the object when it goes on: that is a
// success, and the upload is neither aborted nor left behind.
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
