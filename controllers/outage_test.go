package controllers

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/observe/observetest"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// looksAtOnce is how many backends of one endpoint are looked at at once.
const looksAtOnce = 8

// TestOneOutageIsNoStorm: fifty backends on one endpoint that goes away make
// few connections, each is reported, and all are back soon after it is.
func TestOneOutageIsNoStorm(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	wire := observetest.NewCable(t, strings.TrimPrefix(server.Endpoint, "http://"))
	server.Endpoint = "http://" + wire.Address()
	c.secret("keys", server)
	var all []*v1alpha1.StorageBackend
	for i := range 50 {
		all = append(all, c.s3(fmt.Sprintf("b-%02d", i), server, func(spec *v1alpha1.StorageBackendSpec) {
			spec.S3.KeyPrefix = fmt.Sprintf("p-%02d", i)
			spec.Probe.FailureThreshold = 2
		}))
	}
	for _, sb := range all {
		c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
		eventually(t, func() string { // the full probe is behind us
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil || len(sb.Status.Capabilities) == 0 {
				return fmt.Sprintf("no capabilities, %v", err)
			}
			return ""
		})
	}
	before := c.looks(all[0].Name)
	wire.Set(true)
	cut := time.Now()
	for _, sb := range all {
		c.until(sb, "Ready", metav1.ConditionFalse, storage.ReasonConnectionLost)
	}
	// The requests of looks that were under way together are made by their drivers
	// five times at most, and so is what their probes clean up, for cleanUpTime. What
	// begins after that is a trial, of one connection, 4 s or more after the last.
	// Without a breaker it is one of each backend every 15 s or sooner.
	const cleanUpTime, watched = 30 * time.Second, 10 * time.Second
	reported := time.Since(cut)
	time.Sleep(time.Until(cut.Add(max(cleanUpTime, reported) + watched)))
	tried, lasted := wire.Tried(), time.Since(cut)
	at := make([]time.Duration, len(tried))
	late := 0
	for i, when := range tried {
		if at[i] = when.Sub(cut).Round(time.Millisecond); at[i] > lasted-watched {
			late++
		}
	}
	if most := 2*5*looksAtOnce + 1 + int(lasted/(4*time.Second)); len(tried) == 0 || len(tried) > most {
		t.Errorf("%d connections were tried in %v, want 1 to %d", len(tried), lasted, most)
	}
	if most := 1 + int(watched/(4*time.Second)); late > most {
		t.Errorf("%d connections were tried in the last %v of %v, want at most %d", late, watched, lasted, most)
	}
	t.Logf("all 50 were reported after %v; connections after %v", reported, at)
	wire.Set(false)
	mended := time.Now()
	for _, sb := range all {
		eventuallyIn(t, 36*time.Second+30*time.Second, func() string {
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil {
				return err.Error()
			}
			if ready, reason, _ := status.Readiness(sb); !ready {
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
	c.until(first, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(next, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.goesTo(c.table, "x", "first")
	proxy.Arm(faultproxy.Fault{Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 503, Always: true,
		Page: "<html><body><center><h1>503 Service Temporarily Unavailable</h1></center><hr><center>nginx</center></body></html>"})
	c.until(first, "Ready", metav1.ConditionFalse, storage.ReasonServerFailed)
	c.goesTo(c.table, "x", "next")
	proxy.Arm()
	c.until(first, "Ready", metav1.ConditionTrue, status.ReasonReady)
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
	c.until(good, "Ready", metav1.ConditionTrue, status.ReasonReady)
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
	if took > 10*time.Second {
		t.Errorf("the changed Secret was acted on after %v", took)
	}
	c.edit(keys, func() { keys.Data["secret"] = []byte(server.SecretKey) })
	c.until(good, "Ready", metav1.ConditionTrue, status.ReasonReady)
}

// TestReadyWithEveryDriver: a replica that starts where more backends share an
// endpoint than are looked at at once is not ready before it has opened each.
func TestReadyWithEveryDriver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, true)
	server := servers.S3(t)
	c.secret("keys", server)
	var all []*v1alpha1.StorageBackend
	for i := range 4 * looksAtOnce {
		all = append(all, c.s3(fmt.Sprintf("b-%02d", i), server, func(spec *v1alpha1.StorageBackendSpec) { spec.S3.KeyPrefix = fmt.Sprintf("p-%02d", i) }))
	}
	for _, sb := range all {
		c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
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
