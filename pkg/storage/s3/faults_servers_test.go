package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestFaultsOfTLS: over https any fault in the bytes of a connection, in either
// direction, acts like a lost or stalled connection: the request is retried on
// another one, and the caller does not notice. TLS detects a turned bit. One fault
// ends a call: a first byte that is not TLS means a server that does not speak TLS.
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

// TestFaultsElsewhere runs the most different faults on the other servers.
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

// TestDamageOnTheWay: in every mode a bit that turns in the body of a request is
// detected, even on servers that ignore what the mode sends (Ceph RGW).
func TestDamageOnTheWay(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, mode := range []s3.Checksums{s3.ChecksumsWhenRequired, s3.ChecksumsWhenSupported} {
			t.Run(fmt.Sprintf("%s/%s", kind, mode), func(t *testing.T) {
				t.Parallel()
				place := &bed{server: servers.S3On(t, kind, false), proxy: faultproxy.HTTP, mode: mode}
				var damaging []putCase
				for _, c := range putCases(false) {
					if f := c.faults[0]; f.Action == faultproxy.Corrupt && f.Where == faultproxy.InRequest {
						damaging = append(damaging, c)
					}
				}
				if len(damaging) < 5 {
					t.Fatalf("%d cases", len(damaging))
				}
				inParallel(t, damaging, func(c putCase) string { return c.name }, place.put)
			})
		}
	}
}

// TestExpiredCredentials: a session token that expires during an upload ends the
// upload with a reason that says so.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	place := &bed{server: servers.S3(t), proxy: faultproxy.HTTP}
	for _, w := range ways()[:3] {
		t.Run(w.name, func(t *testing.T) {
			place.behind(t, "expired/"+strings.ReplaceAll(w.name, " ", "-"), func(ctx context.Context, b *faulted) {
				// From the second request on: the upload has begun, and cannot even be removed.
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

// TestThrottledForLong: the driver does not wait for a server that asks for more
// time than the caller has.
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
			kind := storage.ErrThrottled
			if verb == "Head" {
				kind = storage.ErrUnreachable // its answer has no body to say why
			}
			err := b.inTime(ctx, t, faultCase{want: fails, kind: kind}, call)
			if took := time.Since(began); took > faultDeadline/6 {
				t.Errorf("%s took %s: %v", verb, took, err)
			}
		}
	})
}

// TestNoName: an unknown host name ends a Put in time, and the Put returns its memory.
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
