package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// getCase is a fault in a Get.
type getCase struct {
	faultCase
	rng     *storage.Range
	corrupt bool // over plain http, where only the digest shows it
}

const getSize = 400_000

// getCases are all faults, once and permanent, in a Get and in one of a range.
func getCases(all bool) []getCase {
	get := step{Fault: faultproxy.Fault{Kind: faultproxy.GetObject, Key: "/sha256/"}, answer: 200_000}
	var cases []getCase
	for name, rng := range map[string]*storage.Range{"get": nil, "range": {Offset: 1000, Length: getSize - 3000}} {
		for _, f := range get.spoilings(all) {
			for _, always := range []bool{false, true} {
				if always && !lasting(f) {
					continue
				}
				if f.Action == faultproxy.Drip {
					f.Piece = 16 << 10
				}
				f.Always = always
				c := getCase{rng: rng, corrupt: f.Action == faultproxy.Corrupt, faultCase: expectedOfGet(f)}
				c.faults = []faultproxy.Fault{f}
				c.name = fmt.Sprintf("%s %s %s %d always=%t", name, f.Action, f.Where, f.Status, always)
				cases = append(cases, c)
			}
		}
	}
	return cases
}

func expectedOfGet(f faultproxy.Fault) faultCase {
	switch {
	case f.Action == faultproxy.Answer && f.Status < 500:
		return faultCase{want: fails, kind: storage.ErrDenied}
	case f.Always && f.Action == faultproxy.Reset && f.Where == faultproxy.InAnswer:
		// Bytes received but not yet read are lost with the connection: no attempt
		// may make progress.
		return faultCase{want: either}
	case f.Action == faultproxy.Corrupt, !f.Always, f.Where == faultproxy.InAnswer:
		// A body that is interrupted again and again still ends if each piece makes
		// progress.
		return faultCase{want: succeeds}
	case f.Action == faultproxy.Answer && f.Code == "SlowDown":
		return faultCase{want: fails, kind: storage.ErrThrottled}
	}
	return faultCase{want: fails, kind: storage.ErrUnreachable}
}

// TestFaultsOfGet: whatever fails in a Get, it returns the requested bytes, or those
// before the fault and a typed error.
func TestFaultsOfGet(t *testing.T) {
	t.Parallel()
	place := &bed{server: servers.S3(t), proxy: faultproxy.HTTP}
	place.get(t, getCases(true))
}

func (place *bed) get(t *testing.T, cases []getCase) {
	t.Helper()
	prefix := fmt.Sprint("case/", place.next.Add(1))
	data := storagetest.Bytes(21, getSize)
	direct := configFor(place.server)
	direct.KeyPrefix, direct.CABundle = prefix, place.server.CA
	if _, err := newBackend(t, direct).Put(t.Context(), source(data)); err != nil {
		t.Fatal(err)
	}
	inParallel(t, cases, func(c getCase) string { return c.name }, func(t *testing.T, c getCase) {
		want := data
		if c.rng != nil {
			want = data[c.rng.Offset : c.rng.Offset+c.rng.Length]
		}
		place.behind(t, prefix, func(ctx context.Context, b *faulted) {
			b.proxy.Arm(c.faults...)
			var got []byte
			get := func(ctx context.Context) error {
				got = nil
				r, _, err := b.Get(ctx, storageDigest(data), c.rng)
				if err != nil {
					return err
				}
				defer r.Close()
				// Like pull: a reader of a blob knows its digest.
				hashing := digest.NewReader(r)
				if got, err = io.ReadAll(hashing); err != nil {
					return err
				}
				if right := hashing.Sum() == digest.Of(want); right == c.corrupt {
					t.Errorf("its digest is right: %t", right)
				}
				return nil
			}
			err := b.inTime(ctx, t, c.faultCase, get)
			if !c.corrupt && !bytes.HasPrefix(want, got) || err == nil && len(got) != len(want) {
				t.Errorf("it gave %d bytes of %d that are not those of the blob: %v", len(got), len(want), err)
			}
			b.proxy.Arm()
			c.corrupt = false
			if err := b.do(ctx, get); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the same Get, with all in order: %d bytes, %v", len(got), err)
			}
		})
	})
	place.empty(t, prefix)
}
