package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// step is one request of a Put, and how large its bodies are.
type step struct {
	faultproxy.Fault       // the request
	request, answer  int64 // bytes of the bodies, about; 0: none
	few              bool  // similar to another step; needs no full set of faults
}

// way is one way of a Put.
type way struct {
	name    string
	known   bool // the digest
	refused bool // by us: the digest differs
	copied  bool // from staging in parts
	data    []byte
	want    digest.Dual
	steps   []step
}

// blobKeys is part of the path of each blob's key, and of no other key.
const blobKeys = "/sha256/"

func ways() []way {
	whole, parts := storagetest.Bytes(11, 300_000), storagetest.Bytes(12, s3.MinMultipartChunkBytes+400_000)
	small := storagetest.Bytes(13, 30_000) // fits a small buffer
	create := func(key string) step {
		return step{faultproxy.Fault{Kind: faultproxy.CreateMultipartUpload, Key: key}, 0, 200, false}
	}
	part := func(number int, few bool) step {
		return step{faultproxy.Fault{Kind: faultproxy.UploadPart, Part: number}, 300_000, 0, few}
	}
	simple := func(kind faultproxy.Kind, key string, request, answer int64) step {
		return step{faultproxy.Fault{Kind: kind, Key: key}, request, answer, false}
	}
	const blob, staged = blobKeys, "/staging/"
	return []way{
		{"whole", true, false, false, whole, digest.Of(whole), []step{
			simple(faultproxy.PutObject, blob, 300_000, 0),
		}},
		{"in parts", true, false, false, parts, digest.Of(parts), []step{
			create(blob), part(1, false), part(2, true),
			simple(faultproxy.CompleteMultipartUpload, blob, 200, 200),
			simple(faultproxy.HeadObject, blob, 0, 0),
		}},
		{"staged", false, false, false, parts, digest.Of(parts), []step{
			create(staged), part(1, true),
			simple(faultproxy.CompleteMultipartUpload, staged, 200, 200),
			simple(faultproxy.CopyObject, blob, 0, 200),
			simple(faultproxy.HeadObject, blob, 0, 0),
			simple(faultproxy.DeleteObject, staged, 0, 0),
		}},
		{"copied in parts", false, false, true, parts, digest.Of(parts), []step{
			create(blob),
			{faultproxy.Fault{Kind: faultproxy.UploadPartCopy, Part: 1}, 0, 200, false},
			{faultproxy.Fault{Kind: faultproxy.UploadPartCopy, Part: 2}, 0, 200, true},
			{faultproxy.Fault{Kind: faultproxy.CompleteMultipartUpload, Key: blob}, 200, 200, true},
			{faultproxy.Fault{Kind: faultproxy.DeleteObject, Key: staged}, 0, 0, true},
		}},
		{"refused", true, true, false, parts, digest.Of(whole), []step{
			simple(faultproxy.AbortMultipartUpload, blob, 0, 0),
			simple(faultproxy.ListParts, blob, 0, 100),
		}},
		{"small", true, false, false, small, digest.Of(small), []step{
			{faultproxy.Fault{Kind: faultproxy.PutObject, Key: blob}, 30_000, 0, true},
		}},
	}
}

// spoilings are the faults of one step, once each: all of them, or the most different ones.
func (s step) spoilings(all bool) []faultproxy.Fault {
	answer := func(status int, code string) faultproxy.Fault {
		f := faultproxy.Fault{Action: faultproxy.Answer, Status: status, Code: code}
		if status == 503 {
			f.RetryAfter = time.Second
		}
		return f
	}
	var (
		reset, stall = faultproxy.Fault{Action: faultproxy.Reset}, faultproxy.Fault{Action: faultproxy.Stall}
		truncate     = faultproxy.Fault{Action: faultproxy.Truncate}
		corrupt      = faultproxy.Fault{Action: faultproxy.Corrupt}
		drip         = faultproxy.Fault{Action: faultproxy.Drip, Piece: 100, Pause: 20 * time.Millisecond}
		failed, slow = answer(500, "InternalError"), answer(503, "SlowDown")
		denied, old  = answer(403, "AccessDenied"), answer(400, "ExpiredToken")
	)
	if s.request > 10_000 {
		drip.Piece = 32 << 10
	}
	var found []faultproxy.Fault
	add := func(where faultproxy.Where, after int64, faults ...faultproxy.Fault) {
		for _, f := range faults {
			f.Kind, f.Key, f.Part = s.Kind, s.Key, s.Part
			f.Where, f.After = where, after
			found = append(found, f)
		}
	}
	if all {
		add(faultproxy.BeforeRequest, 0, reset, stall, truncate, failed, slow, denied, old)
		// Not SlowDown, which says that nothing was executed.
		add(faultproxy.BeforeAnswer, 0, reset, stall, truncate, failed, answer(503, "ServiceUnavailable"))
	} else {
		add(faultproxy.BeforeRequest, 0, failed, denied)
		add(faultproxy.BeforeAnswer, 0, reset)
	}
	if s.request > 0 {
		if all {
			add(faultproxy.InRequest, s.request/2, reset, stall, truncate, corrupt, drip, denied, slow)
		} else {
			add(faultproxy.InRequest, s.request/2, stall, truncate, corrupt)
		}
	}
	if s.answer > 0 {
		if all {
			add(faultproxy.InAnswer, s.answer/2, reset, stall, truncate, corrupt, drip)
		} else {
			add(faultproxy.InAnswer, s.answer/2, truncate)
		}
	}
	return found
}

// lasting selects the faults that are also tested without an end.
func lasting(f faultproxy.Fault) bool {
	switch f.Action {
	case faultproxy.Answer:
		return f.Status >= 500 && f.Where == faultproxy.BeforeRequest
	case faultproxy.Stall:
		return f.Where == faultproxy.BeforeRequest
	case faultproxy.Reset, faultproxy.Corrupt:
		return f.Part < 2
	}
	return false
}

// putCase is a fault in a Put.
type putCase struct {
	faultCase
	way way
}

// putCases are all faults in all steps, once and permanent.
func putCases(all bool) []putCase {
	var cases []putCase
	for _, w := range ways() {
		for _, s := range w.steps {
			for _, f := range s.spoilings(all && !s.few) {
				for _, always := range []bool{false, true} {
					if always && (!all || s.few || !lasting(f)) {
						continue
					}
					f.Always = always
					c := putCase{way: w, faultCase: expected(w, f)}
					c.faults = []faultproxy.Fault{f}
					c.name = fmt.Sprintf("%s/%s%s %s %s", w.name, s.Kind, map[bool]string{true: fmt.Sprint(" ", s.Part)}[s.Part > 0], f.Action, f.Where)
					if f.Action == faultproxy.Answer {
						c.name += fmt.Sprint(" ", f.Status)
					}
					if always {
						c.name += " always"
					}
					cases = append(cases, c)
				}
			}
		}
	}
	return cases
}

// expected returns the required result of a fault.
func expected(w way, f faultproxy.Fault) faultCase {
	once := !f.Always
	lost := f.Where == faultproxy.BeforeAnswer || f.Where == faultproxy.InAnswer
	final := f.Action == faultproxy.Answer && f.Status < 500
	switch {
	case w.refused:
		// Faults during clean-up do not concern the caller. What permanently cannot
		// be removed stays: the removal's own requests are what fails.
		return faultCase{want: fails, kind: storage.ErrMismatch, leaves: f.Always && f.Kind == faultproxy.AbortMultipartUpload}
	case f.Kind == faultproxy.DeleteObject:
		return faultCase{want: succeeds, leaves: f.Always || final}
	case f.Action == faultproxy.Drip:
		return faultCase{want: succeeds}
	case f.Kind == faultproxy.CreateMultipartUpload && lost:
		// An upload that the server has begun and whose id is unknown: if it is to a
		// blob's key, to which others may be uploading, the sweep removes it.
		return faultCase{want: map[bool]outcome{true: succeeds, false: either}[once && f.Action != faultproxy.Corrupt], leaves: f.Key == blobKeys}
	case final && f.Kind == faultproxy.HeadObject:
		// The answer has no body to say which 400 or 403 it is, and every other
		// request succeeds.
		return faultCase{want: fails}
	case final:
		return faultCase{want: fails, kind: storage.ErrDenied}
	case f.Action == faultproxy.Corrupt && f.Where == faultproxy.InRequest && f.Kind == faultproxy.CompleteMultipartUpload:
		// A server that looks for the parts before it verifies the hash (MinIO)
		// finds one missing.
		return faultCase{want: either}
	case f.Action == faultproxy.Corrupt && f.Where == faultproxy.InAnswer:
		return faultCase{want: either} // it may turn a bit without meaning
	case once:
		return faultCase{want: succeeds}
	case lost && f.Kind == faultproxy.UploadPartCopy:
		return faultCase{want: fails, kind: storage.ErrUnreachable} // the answer is needed: it contains the part's tag
	case lost:
		return faultCase{want: either} // the result can be checked
	case f.Action == faultproxy.Answer && f.Code == "SlowDown" && f.Kind != faultproxy.HeadObject: // its answer has no code
		return faultCase{want: fails, kind: storage.ErrThrottled}
	}
	return faultCase{want: fails, kind: storage.ErrUnreachable}
}

// TestFaultsOfPut: whatever fails in whichever request of a Put, the Put ends in time
// with success or a typed error; the blob is stored correctly or not at all; and
// nothing is left behind.
func TestFaultsOfPut(t *testing.T) {
	t.Parallel()
	place := &bed{server: servers.S3(t), proxy: faultproxy.HTTP}
	inParallel(t, putCases(true), func(c putCase) string { return c.name }, place.put)
}

func (place *bed) put(t *testing.T, c putCase) {
	prefix := fmt.Sprint("case/", place.next.Add(1))
	src := func() storage.Source {
		s := storage.Source{Reader: bytes.NewReader(c.way.data), Size: int64(len(c.way.data)), Want: c.way.want}
		if !c.way.known {
			s.Size, s.Want = storage.UnknownSize, digest.Dual{}
		}
		return s
	}
	key := storage.Key(c.way.want.SHA256)
	place.behind(t, prefix, func(ctx context.Context, b *faulted) {
		if c.way.copied {
			s3.CopyInParts(b.Backend, s3.MinMultipartChunkBytes)
		}
		b.proxy.Arm(c.faults...)
		put := func(ctx context.Context) error {
			info, err := b.Put(ctx, src())
			if err == nil && info.Digests != c.way.want {
				t.Errorf("it stored %s", info.Digests)
			}
			return err
		}
		err := b.inTime(ctx, t, c.faultCase, put)
		begun := map[string]bool{}
		for _, e := range b.proxy.Exchanges() {
			if e.Kind == faultproxy.CreateMultipartUpload {
				begun[strings.TrimPrefix(e.Path, "/"+place.server.Bucket+"/")] = true
			}
		}
		got, size, missing := place.hashOf(t, prefix+"/"+key)
		if missing == nil && (got != c.way.want || size != int64(len(c.way.data))) {
			t.Errorf("the blob's key holds %d bytes, %s", size, got)
		}
		if err == nil && missing != nil {
			t.Errorf("it said that the blob is there: %v", missing)
		}
		if !c.leaves {
			settles(t, func() string {
				left := place.uploads(t, begun)
				for _, there := range place.objects(t, prefix) {
					if there != key {
						left = append(left, there)
					}
				}
				return strings.Join(left, ", ")
			})
		}
		b.proxy.Arm()
		if err != nil && !c.way.refused {
			if err := b.do(ctx, put); err != nil {
				t.Errorf("the same Put, with all in order: %v (%s)", err, storage.ReasonOf(err))
			}
			if got, _, err := place.hashOf(t, prefix+"/"+key); err != nil || got != c.way.want {
				t.Errorf("the same Put, with all in order, has left %s, %v", got, err)
			}
			if there := place.objects(t, prefix); !c.leaves && !slices.Equal(there, []string{key}) {
				t.Errorf("in the end there is %q", there)
			}
		}
	})
	place.empty(t, prefix)
}
