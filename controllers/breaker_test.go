package controllers

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
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
	bs.jitter = func(d time.Duration) time.Duration { return d }
	return bs
}

var refusing = &Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonConnectionRefused, Lost: true}

func TestBreakerLetsOneTryAtAGrowingInterval(t *testing.T) {
	t.Parallel()
	bs := newTestBreakers()
	in := func(name string, asked bool) func(*Problem) {
		t.Helper()
		done, away := bs.enter("a:80", name, asked)
		if away != nil {
			t.Fatalf("%s was turned away: %+v", name, away)
		}
		return done
	}
	out := func(name string, failures int) {
		t.Helper()
		if _, away := bs.enter("a:80", name, false); away == nil || away.failures != failures || (away.problem != refusing) {
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
	in("f", true)(&Problem{Reason: storage.ReasonCancelled, Lost: true}) // no news
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
	in("f", true)(&Problem{Reason: storage.ReasonAccessDenied})
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
	var done []func(*Problem)
	for i := range endpointLooks + 20 {
		leave, away := bs.enter("a:80", fmt.Sprint(i), false)
		if (away != nil) != (i >= endpointLooks) || away != nil && away.problem != nil {
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

// TestOneOutageIsNoStorm: fifty backends on one endpoint that goes away make
// few connections, each is reported, and all are back soon after it is.
func TestOneOutageIsNoStorm(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	wire := newCable(t, strings.TrimPrefix(server.Endpoint, "http://"))
	server.Endpoint = "http://" + wire.listener.Addr().String()
	c.secret("keys", server)
	var all []*v1alpha1.StorageBackend
	for i := range 50 {
		all = append(all, c.s3(fmt.Sprintf("b-%02d", i), server, func(spec *v1alpha1.StorageBackendSpec) {
			spec.S3.KeyPrefix = fmt.Sprintf("p-%02d", i)
			spec.Probe.FailureThreshold = 2
		}))
	}
	for _, sb := range all {
		c.until(sb, "Ready", metav1.ConditionTrue, ReasonReady)
		eventually(t, func() string { // the full probe is behind us
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil || len(sb.Status.Capabilities) == 0 {
				return fmt.Sprintf("no capabilities, %v", err)
			}
			return ""
		})
	}
	before := c.looks(all[0].Name)
	wire.set(true)
	cut := time.Now()
	var first time.Time // when one had been lost twice
	var early int       // the connections that had been tried by then
	for _, sb := range all {
		c.until(sb, "Ready", metav1.ConditionFalse, storage.ReasonConnectionLost)
		if first.IsZero() {
			first, early = time.Now(), wire.tried()
		}
	}
	tried, lasted := wire.tried(), time.Since(cut)
	// The requests of looks that were under way together are repeated by their
	// drivers, five times at most. What begins after that is a trial, of one
	// connection, 4 s or more after the last. Without a breaker it is one of each
	// backend every 15 s or sooner.
	if tried == 0 || early > 5*endpointLooks+int(first.Sub(cut)/(4*time.Second)) {
		t.Errorf("%d connections were tried in the first %v, want 1 to some %d", early, first.Sub(cut), 5*endpointLooks)
	}
	if late, most := tried-early, 1+int(time.Since(first)/(4*time.Second)); late > most {
		t.Errorf("%d connections were tried in the %v after that, want at most %d", late, time.Since(first), most)
	}
	t.Logf("%d connections in %v until all 50 were reported, %d of them in the first %v", tried, lasted, early, first.Sub(cut))
	wire.set(false)
	mended := time.Now()
	for _, sb := range all {
		eventuallyIn(t, lastTrial*6/5+30*time.Second, func() string {
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil {
				return err.Error()
			}
			if ready, reason, _ := readiness(sb); !ready {
				return sb.Name + " " + reason
			}
			return ""
		})
	}
	t.Logf("all 50 are back %v after the endpoint", time.Since(mended))
	if c.looks(all[0].Name) == before {
		t.Error("nothing was looked at")
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
		sb.Status = statusAfter(o.Observe(t.Context(), sb, nil, keysOf(&server)), sb.Status)
		if got := sb.Status.LastHandledRequest; got != handled || (proxy.Struck() > 0) != made {
			t.Errorf("%s: handled is %q, want %q, and %d requests were made", when, got, handled, proxy.Struck())
		}
	}
	ask := func(value string) { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: value} }
	another := func() func(*Problem) { // a trial of another backend
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
	sb.Status = statusAfter(seen, sb.Status)
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

// TestADeadServerBehindAProxy: what its 503 says takes the backend out of
// service, and new bytes go to the next of the rule.
func TestADeadServerBehindAProxy(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	c.secret("keys", server)
	behind := server
	behind.Endpoint = proxy.URL
	in := func(prefix string) func(*v1alpha1.StorageBackendSpec) {
		return func(spec *v1alpha1.StorageBackendSpec) { spec.S3.KeyPrefix, spec.Probe.FailureThreshold = prefix, 2 }
	}
	first, next := c.s3("first", behind, in("first")), c.s3("next", server, in("next"))
	c.create(&v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"first", "next"}}}}})
	c.until(first, "Ready", metav1.ConditionTrue, ReasonReady)
	c.until(next, "Ready", metav1.ConditionTrue, ReasonReady)
	c.goesTo(c.table, "x", "first")
	proxy.Arm(faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Always: true,
		Page: "<html><body><center><h1>503 Service Temporarily Unavailable</h1></center><hr><center>nginx</center></body></html>"})
	c.until(first, "Ready", metav1.ConditionFalse, storage.ReasonServerFailed)
	c.goesTo(c.table, "x", "next")
	proxy.Arm()
	c.until(first, "Ready", metav1.ConditionTrue, ReasonReady)
	c.goesTo(c.table, "x", "first")
}

// TestWhatHangsHoldsUpNoOther: a changed Secret is acted on at once while an
// endpoint with many backends takes connections and never answers.
func TestWhatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	keys := c.secret("keys", server)
	good := c.s3("good", server, func(spec *v1alpha1.StorageBackendSpec) {
		spec.Probe.Interval = &metav1.Duration{Duration: time.Hour}
	})
	c.until(good, "Ready", metav1.ConditionTrue, ReasonReady)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // its backlog takes connections
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for i := range 60 {
		c.s3(fmt.Sprintf("hung-%02d", i), server, func(spec *v1alpha1.StorageBackendSpec) {
			spec.S3.EndpointURL = "http://" + silent.Addr().String()
			spec.S3.KeyPrefix = fmt.Sprintf("p-%02d", i)
			spec.Probe = v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: time.Minute}, Timeout: &metav1.Duration{Duration: 50 * time.Second}}
		})
	}
	hung := time.Now()
	c.edit(keys, func() { keys.Data["secret"] = []byte("of-somebody-else") })
	c.until(good, "Reachable", metav1.ConditionFalse, storage.ReasonSecretKeyWrong)
	took := time.Since(hung)
	t.Logf("acted on after %v", took)
	if took > openTimeout {
		t.Errorf("the changed Secret was acted on after %v", took)
	}
	c.edit(keys, func() { keys.Data["secret"] = []byte(server.SecretKey) })
	c.until(good, "Ready", metav1.ConditionTrue, ReasonReady)
}

// TestReadyWithEveryDriver: a replica that starts where more backends share an
// endpoint than are looked at at once is not ready before it has opened each.
func TestReadyWithEveryDriver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, true)
	server := servers.S3(t)
	c.secret("keys", server)
	var all []*v1alpha1.StorageBackend
	for i := range 4 * endpointLooks {
		all = append(all, c.s3(fmt.Sprintf("b-%02d", i), server, func(spec *v1alpha1.StorageBackendSpec) { spec.S3.KeyPrefix = fmt.Sprintf("p-%02d", i) }))
	}
	for _, sb := range all {
		c.until(sb, "Ready", metav1.ConditionTrue, ReasonReady)
	}
	second := routing.New()
	c.replica(c.config, true, second)
	observer := c.observer
	for began := time.Now(); !second.Loaded(); runtime.Gosched() { // no pause: what is there at the first moment counts
		if time.Since(began) > time.Minute {
			t.Fatal("the second replica is not ready after a minute")
		}
	}
	missing := 0
	for _, sb := range all {
		if opened, there := observer.Opened()[sb.Name]; !there || opened.Store == nil {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("ready, and %d of %d backends have no driver", missing, len(all))
	}
}
