package observe

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/faultproxy"
)

// testBreakers has a clock of its own, exact waits, and lists who was woken.
type testBreakers struct {
	*breakers
	clock clock
	mu    sync.Mutex
	woken []string
}

func newTestBreakers() *testBreakers {
	bs := &testBreakers{clock: clock{now: at}}
	bs.breakers = newBreakers(bs.clock.Now, func(name string) {
		bs.mu.Lock()
		defer bs.mu.Unlock()
		bs.woken = append(bs.woken, name)
	})
	bs.random = func() float64 { return 1 }
	return bs
}

var refusing = &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonConnectionRefused, Lost: true}

func TestBreakerLetsOneTryAtAGrowingInterval(t *testing.T) {
	t.Parallel()
	bs := newTestBreakers()
	in := func(name string, asked bool) func(*declared.Problem) {
		t.Helper()
		done, away := bs.enter("a:80", name, asked)
		if away != nil {
			t.Fatalf("%s was turned away: %+v", name, away)
		}
		return done
	}
	out := func(name string, failures int) {
		t.Helper()
		if _, away := bs.enter("a:80", name, false); away == nil || away.Failures != failures || (away.Problem != refusing) {
			t.Fatalf("%s was not turned away after %d failures: %+v", name, failures, away)
		}
	}
	// What was under way together is one failure.
	first, second := in("a", false), in("b", false)
	first(refusing)
	second(refusing)
	out("c", 1)
	for i, wait := range []time.Duration{5, 10, 20, 30, 30} {
		bs.clock.add(wait*time.Second - time.Millisecond)
		out("c", i+1)
		bs.clock.add(time.Millisecond)
		trial := in("d", false)
		out("e", i+1) // one at a time
		trial(refusing)
		out("d", i+2)
	}
	// Who asks need not wait, but for a trial that is just over.
	if _, away := bs.enter("a:80", "f", true); away == nil {
		t.Error("asked within the second")
	}
	bs.clock.add(time.Second)
	in("f", true)(&declared.Problem{Reason: storage.ReasonCancelled, Lost: true}) // no news
	out("f", 6)
	bs.clock.add(time.Second)
	// Another endpoint is not concerned, nor a folder.
	if _, away := bs.enter("b:80", "g", false); away != nil {
		t.Errorf("%+v", away)
	}
	if _, away := bs.enter("", "h", false); away != nil {
		t.Errorf("%+v", away)
	}
	// An answer of no is an answer: all may come.
	bs.forget("e")
	in("f", true)(&declared.Problem{Reason: storage.ReasonAccessDenied})
	slices.Sort(bs.woken)
	if want := []string{"c", "d", "f"}; !slices.Equal(bs.woken, want) {
		t.Errorf("%v were woken, want %v", bs.woken, want)
	}
	in("c", false)(nil)
	in("d", false)(nil)
}

// TestBreakerBoundsLooks at one endpoint, and none waits in vain.
func TestBreakerBoundsLooks(t *testing.T) {
	t.Parallel()
	bs := newTestBreakers()
	var done []func(*declared.Problem)
	for i := range endpointLooks + 20 {
		leave, away := bs.enter("a:80", fmt.Sprint(i), false)
		if (away != nil) != (i >= endpointLooks) || away != nil && away.Problem != nil {
			t.Fatalf("%d: %+v", i, away)
		}
		if away == nil {
			done = append(done, leave)
		}
	}
	looked := len(done)
	for len(done) > 0 {
		done[0](nil)
		done = done[1:]
		for _, name := range bs.woken {
			if leave, away := bs.enter("a:80", name, false); away == nil {
				done = append(done, leave)
				looked++
			}
		}
		bs.woken = nil
		if len(done) > endpointLooks {
			t.Fatalf("%d at once", len(done))
		}
	}
	if looked != endpointLooks+20 {
		t.Errorf("%d were let in in the end", looked)
	}
	if len(bs.byEndpoint) > 0 {
		t.Errorf("something is kept of an endpoint that is at rest: %+v", bs.byEndpoint["a:80"])
	}
}

// TestARequestIsHandledOnceItWasLookedAt: not where its look was turned away,
// which is made as the next trial, or when the endpoint answers to another.
func TestARequestIsHandledOnceItWasLookedAt(t *testing.T) {
	t.Parallel()
	o, clock, server, proxy := proxied(t)
	sb := bucketOf(server)
	sb.Spec.Probe.FailureThreshold = 1
	woken := make(chan string, 8)
	defer o.Listen(func(name string, look bool) {
		if look && name == sb.Name {
			woken <- name
		}
	})()
	down := faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Always: true}
	look := func(when, handled string, made bool) {
		t.Helper()
		proxy.Arm(down)
		sb.Status = status.After(o.Observe(t.Context(), sb, nil, keysOf(&server)), nil, sb.Status)
		if got := sb.Status.LastHandledRequest; got != handled || (proxy.Struck() > 0) != made {
			t.Errorf("%s: handled is %q, want %q, and %d requests were made", when, got, handled, proxy.Struck())
		}
	}
	ask := func(value string) { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: value} }
	another := func() func(*declared.Problem) { // a trial of another backend
		done, away := o.breakers.enter(breakerOf(sb), "another", true)
		if away != nil {
			t.Fatalf("%+v", away)
		}
		return done
	}
	look("the outage", "", true)
	clock.add(askedTrial)
	another()(refusing)
	ask("first")
	look("another's trial is just over", "", false)
	clock.add(askedTrial)
	look("as the next trial", "first", true)
	if c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || c.Reason != storage.ReasonServerFailed {
		t.Errorf("%+v", c)
	}
	clock.add(askedTrial)
	end := another()
	ask("second")
	look("while another is tried", "first", false)
	if len(woken) > 0 {
		t.Error("it was woken although nothing answers")
	}
	end(nil)
	<-woken // the endpoint answers
	proxy.Arm()
	seen := observeFully(t, o, sb, keysOf(&server))
	sb.Status = status.After(seen, nil, sb.Status)
	if c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady); c.Status != metav1.ConditionTrue || sb.Status.LastHandledRequest != "second" || len(sb.Status.Capabilities) == 0 {
		t.Errorf("it is back: handled is %q, %+v", sb.Status.LastHandledRequest, c)
	}
}

// TestARequestHurriesOnce: a replica whose look did not find the endpoint back
// does not try again and again until some status says that it was handled.
func TestARequestHurriesOnce(t *testing.T) {
	t.Parallel()
	o, clock, server, proxy := proxied(t)
	sb := bucketOf(server)
	sb.Status.ID, sb.Annotations = "id-1", map[string]string{v1alpha1.RequestAnnotation: "now"}
	proxy.Arm(faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Always: true})
	tries := func() int {
		before := proxy.Struck()
		o.Open(t.Context(), sb, nil, keysOf(&server))
		return proxy.Struck() - before
	}
	if tries() == 0 {
		t.Error("it was not tried")
	}
	for range 4 {
		clock.add(askedTrial)
		if again := tries(); again != 0 {
			t.Errorf("%d requests more for what was asked for once", again)
		}
	}
	clock.add(askedTrial)
	sb.Annotations[v1alpha1.RequestAnnotation] = "again"
	if tries() == 0 {
		t.Error("another request was not tried")
	}
}
