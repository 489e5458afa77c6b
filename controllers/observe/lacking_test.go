package observe

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

func TestLacking(t *testing.T) {
	t.Parallel()
	one := func(name string, status storage.Support) []storage.Capability {
		return []storage.Capability{{Name: name, Status: status, Message: "m"}}
	}
	recorded := func(generation int64, found []storage.Capability) v1alpha1.StorageBackendStatus {
		return v1alpha1.StorageBackendStatus{
			ObservedGeneration: generation, Capabilities: status.RecordedCapabilities(found),
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionWritable, Status: metav1.ConditionFalse, Reason: storage.ReasonAccessDenied, LastTransitionTime: metav1.Time{Time: at}}},
		}
	}
	lacked := recorded(1, one("multipart", storage.Unsupported))
	for _, tt := range []struct {
		name     string
		found    []storage.Capability
		recorded v1alpha1.StorageBackendStatus
		want     string // the reason
	}{
		{"nothing is known", nil, v1alpha1.StorageBackendStatus{}, ""},
		{"it works", one("multipart", storage.Supported), v1alpha1.StorageBackendStatus{}, ""},
		{"it does not", one("multipart", storage.Unsupported), v1alpha1.StorageBackendStatus{}, status.ReasonUnsupported},
		{"it is not needed", one("sse", storage.Unsupported), v1alpha1.StorageBackendStatus{}, ""},
		{"what is recorded stands", nil, lacked, storage.ReasonAccessDenied},
		{"no answer takes nothing back", one("multipart", storage.SupportUnknown), lacked, storage.ReasonAccessDenied},
		{"it works again", one("multipart", storage.Supported), lacked, ""},
		{"of another declaration", nil, recorded(2, one("multipart", storage.Unsupported)), ""},
	} {
		got := lacking(standing(tt.found, 1, tt.recorded), nil, tt.recorded)
		if (got == nil) != (tt.want == "") || got != nil && (got.Reason != tt.want || got.Condition != v1alpha1.ConditionWritable || got.Message != "multipart: m") {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	for name, want := range map[string]bool{probe.Put: false, probe.Head: true, probe.Get: false, probe.Delete: false, probe.List: true, "multipart": true} {
		if got := lacking(unproved(one(name, storage.Unsupported)), nil, lacked); (got != nil) != want {
			t.Errorf("%s, after a small probe that was well: %+v", name, got)
		}
	}
	full := func(when time.Time, status storage.Support) *fullProbe {
		return &fullProbe{at: when, report: probe.FullReport{Results: []probe.Result{{Capability: one("multipart", status)[0]}}}}
	}
	if !full(at.Add(-time.Hour), storage.Supported).outdated(1, lacked) {
		t.Error("what was found before another replica found it lacking counts")
	}
	if full(at.Add(time.Hour), storage.Supported).outdated(1, lacked) || full(at.Add(-time.Second), storage.Unsupported).outdated(1, lacked) {
		t.Error("what was found after it, or is the same, does not count")
	}
}

// TestADeniedVerbIsNotWritable until a full probe finds it allowed: over looks
// whose small probes are well, throttled ones, and a new leader.
func TestADeniedVerbIsNotWritable(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	now := at
	o.now = func() time.Time { return now }
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	server.Endpoint = proxy.URL
	answer := func(kind faultproxy.Kind, status int, code string) faultproxy.Fault {
		return faultproxy.Fault{Kind: kind, Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: status, Code: code, Always: true}
	}
	denied := answer(faultproxy.CreateMultipartUpload, 403, "AccessDenied")
	proxy.Arm(denied)
	sb := bucketOf(server)
	look := func(o *Observer) *metav1.Condition {
		seen := observeFully(t, o, sb, keysOf(&server))
		sb.Status = status.Backend(seen, nil, sb.Status)
		return meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionWritable)
	}
	refused := func(when string, c *metav1.Condition) {
		t.Helper()
		ready, reason, _ := status.Readiness(sb)
		if c.Status != metav1.ConditionFalse || c.Reason != storage.ReasonAccessDenied || ready || reason != storage.ReasonAccessDenied {
			t.Errorf("%s: %+v, ready %v", when, c, ready)
		}
	}
	refused("found", look(o))
	for _, result := range o.drivers.of(sb.Name).full.last.Load().report.Results {
		if result.Needed != slices.Contains(needed, result.Name) {
			t.Errorf("%s: needed is %v", result.Name, result.Needed)
		}
	}
	now = now.Add(time.Minute)
	refused("looked at again", look(o))
	proxy.Arm(denied, answer(faultproxy.PutObject, 503, "SlowDown"))
	refused("throttled", look(o))
	proxy.Arm(answer(faultproxy.CreateMultipartUpload, 503, "SlowDown"))
	next, _ := newObserver(t, nil)
	next.registrar, next.settings.LocalRoot, next.now = o.registrar, root, o.now
	refused("a new leader's full probe gets no answer", look(next))
	proxy.Arm()
	refused("nothing is tried again at once", look(o))
	now = now.Add(fullRetry)
	if c := look(o); c.Status != metav1.ConditionTrue || len(sb.Status.Capabilities) == 0 {
		t.Errorf("mended: %+v", c)
	}
}
