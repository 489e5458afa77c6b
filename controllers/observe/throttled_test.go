package observe

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestSlowDownIsNotUnhealthy for a leader that has seen nothing else yet, nor after an edit.
func TestSlowDownIsNotUnhealthy(t *testing.T) {
	t.Parallel()
	first, root := newObserver(t, nil)
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	server.Endpoint = proxy.URL
	sb := bucketOf(server)
	sb.Status = status.Backend(observeFully(t, first, sb, keysOf(&server)), nil, sb.Status)
	before := sb.Status
	slowDown := func(kind faultproxy.Kind) {
		proxy.Arm(faultproxy.Fault{Kind: kind, Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Code: "SlowDown", Always: true})
	}
	slowDown(faultproxy.PutObject)
	next := New(first.registrar, buffer.New(8<<20, 1<<20), declared.Settings{LocalRoot: root}, nil)
	defer next.Close()
	for _, kind := range []faultproxy.Kind{faultproxy.PutObject, ""} {
		slowDown(kind)
		seen := next.Observe(t.Context(), sb, nil, keysOf(&server))
		if proxy.Struck() == 0 {
			t.Fatal("nothing was throttled")
		}
		got := status.Backend(seen, nil, before)
		if diff := cmp.Diff(told(before.Conditions), told(got.Conditions)); diff != "" || got.ID != before.ID || len(got.Capabilities) != len(before.Capabilities) {
			t.Errorf("a new leader: %s, %+v", diff, got)
		}
		sb.Generation++
		sb.Spec.S3.MaxConnections = 8
		got = status.Backend(next.Observe(t.Context(), sb, nil, keysOf(&server)), nil, before)
		sb.Status = got
		if ready, reason, _ := status.Readiness(sb); !ready {
			t.Errorf("after an edit: %s", reason)
		}
		sb.Generation, sb.Spec.S3.MaxConnections, sb.Status = 1, 0, before
	}
}

// TestUnavailableIsNotSlowDown: the 503 of a proxy whose server is gone counts
// as no answer, and holds off the other backends that lie behind it.
func TestUnavailableIsNotSlowDown(t *testing.T) {
	t.Parallel()
	o, clock, server, proxy := proxied(t)
	one, two := bucketOf(server), bucketOf(server)
	one.Spec.S3.KeyPrefix, two.Spec.S3.KeyPrefix, two.Name = "one", "two", "others"
	look := func(sb *v1alpha1.StorageBackend) *metav1.Condition {
		clock.add(time.Minute)
		sb.Status = status.After(observeFully(t, o, sb, keysOf(&server)), nil, sb.Status)
		return meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
	}
	for _, sb := range []*v1alpha1.StorageBackend{one, two} {
		if c := look(sb); c.Status != metav1.ConditionTrue {
			t.Fatalf("before: %+v", c)
		}
	}
	proxy.Arm(faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Always: true,
		Page: "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"})
	for i := 1; i <= declared.DefaultFailureThreshold+1; i++ {
		c := look(one)
		if out := i >= declared.DefaultFailureThreshold; (c.Status == metav1.ConditionFalse) != out || out && c.Reason != storage.ReasonServerFailed {
			t.Errorf("look %d: %+v", i, c)
		}
	}
	struck := proxy.Struck()
	if looks := declared.DefaultFailureThreshold + 1; struck != looks {
		t.Errorf("%d looks made %d requests: one without an answer is enough", looks, struck)
	}
	if seen := o.Observe(t.Context(), two, nil, keysOf(&server)); seen.Away == nil || proxy.Struck() != struck {
		t.Errorf("another backend behind it was looked at: %+v, %d requests", seen, proxy.Struck()-struck)
	}
	proxy.Arm()
	for _, sb := range []*v1alpha1.StorageBackend{one, two} {
		if c := look(sb); c.Status != metav1.ConditionTrue {
			t.Errorf("it is back: %+v", c)
		}
	}
}

// told writes conditions as lines, in the order of the stages.
func told(conditions []metav1.Condition) []string {
	var lines []string
	for _, kind := range []string{"CredentialsResolved", "Reachable", "Writable", "Verified", "Ready", "VerificationScheduled"} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			lines = append(lines, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		}
	}
	return lines
}
