package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// readyWithin is from the creation of the first object until the last is Ready.
	readyWithin = 60 * time.Second
	// stillFor is how long nothing may be written: more than two looks at each
	// backend, at intervals of a minute and up to a tenth.
	stillFor = 140 * time.Second
	// probingShare of one core is what the manager may take meanwhile, in percent.
	probingShare = 5.0
	// actedWithin is from the change of a Secret until the status says what became of it.
	actedWithin = time.Second
	// sharedKeys is the Secret of all backends but the first, which has ownKeys.
	sharedKeys, ownKeys = "keys", "own-keys"
	// settledAfter is how long nothing was written when the first looks are over.
	settledAfter = 10 * time.Second
)

// BenchmarkOperator has a manager follow 500 StorageBackends, prefixes of a
// bucket that is reached by https with a private CA, and 100 RoutingPolicies of
// 20 rules each on a real API server, every process apart. It measures the time
// until all are Ready; then, over two looks at each backend and more, what is
// written to the API server by its own count, and the CPU time of the whole
// manager by the kernel's.
func BenchmarkOperator(b *testing.B) {
	for range b.N {
		c := startControlPlane(b)
		server := servers.S3On(b, servers.VersityGW, true)
		manager := programs.StartManager(b, []string{"--kubeconfig", c.kubeconfig, "--namespace", c.namespace, "--data-dir", b.TempDir()}, nil)
		began := time.Now()
		c.declare(b, server)
		declared := time.Since(began)
		programs.EventuallyWithin(b, 5*time.Minute, func() error { return c.allReady(b, false) })
		took := time.Since(began)
		b.ReportMetric(took.Seconds(), "ready-s")
		record(figure{fmt.Sprintf("%d backends and %d policies of %d rules are Ready", declaredBackends, declaredPolicies, rulesEach), fmt.Sprintf("%.1f s", took.Seconds()), "<= " + readyWithin.String(), took > readyWithin})
		told("  their creation; writes of the manager; its CPU time until then", fmt.Sprintf("%.1f s; %.0f; %.1f s", declared.Seconds(), c.written(b)-declaredBackends-declaredPolicies-2, cpuTime(b, manager.PID()).Seconds()))

		// Each is tried at every verb once, behind the looks.
		programs.EventuallyWithin(b, 10*time.Minute, func() error { return c.allReady(b, true) })
		c.settle(b)
		told("  every verb tried of each, and nothing written for 10 s, after", fmt.Sprintf("%.0f s, with %.1f s of CPU time", time.Since(began).Seconds(), cpuTime(b, manager.PID()).Seconds()))

		probes, writes, cpu, from := probesOf(b, manager), c.writes(b), cpuTime(b, manager.PID()), time.Now()
		wait(b, stillFor)
		span := time.Since(from)
		used, looks := cpuTime(b, manager.PID())-cpu, probesOf(b, manager)-probes
		changed := c.changed(b, writes)
		if looks < 2*declaredBackends {
			b.Errorf("only %d looks in %s: nothing is proved", looks, span)
		}
		share := 100 * used.Seconds() / span.Seconds()
		b.ReportMetric(share, "%core")
		record(figure{fmt.Sprintf("writes to the API server in %.0f s of %d looks that found nothing new", span.Seconds(), looks), fmt.Sprint(len(changed)), "0", len(changed) > 0})
		for _, what := range changed {
			told("  written", what)
		}
		record(figure{fmt.Sprintf("CPU time of the manager meanwhile (%.2f ms a look)", 1000*used.Seconds()/float64(max(1, looks))), fmt.Sprintf("%.2f %% of a core", share), fmt.Sprintf("< %g %%", probingShare), share >= probingShare})
		if err := c.allReady(b, true); err != nil {
			b.Error(err)
		}
		wrong, right := c.actedOn(b, server.SecretKey+"-wrong", metav1.ConditionFalse), c.actedOn(b, server.SecretKey, metav1.ConditionTrue)
		slower := max(wrong, right)
		record(figure{"a changed Secret was tried, and its backend's status says so, after", fmt.Sprintf("%.0f ms", 1000*slower.Seconds()), "<= " + actedWithin.String(), slower > actedWithin})
	}
}

// actedOn changes the Secret of the backend that has one of its own, and returns
// how long it took until Ready told of it.
func (c controlPlane) actedOn(b *testing.B, secret string, want metav1.ConditionStatus) time.Duration {
	b.Helper()
	name := client.ObjectKey{Namespace: c.namespace, Name: backendName(0)}
	var sb v1alpha1.StorageBackend
	var keys corev1.Secret
	if err := errors.Join(c.client.Get(b.Context(), name, &sb), c.client.Get(b.Context(), client.ObjectKey{Namespace: c.namespace, Name: ownKeys}, &keys)); err != nil {
		b.Fatal(err)
	}
	changes, err := c.client.Watch(b.Context(), &v1alpha1.StorageBackendList{}, client.InNamespace(c.namespace),
		client.MatchingFields{"metadata.name": name.Name}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: sb.ResourceVersion}})
	if err != nil {
		b.Fatal(err)
	}
	defer changes.Stop()
	keys.Data["secret"] = []byte(secret)
	began := time.Now()
	if err := c.client.Update(b.Context(), &keys); err != nil {
		b.Fatal(err)
	}
	for over := time.After(time.Minute); ; {
		select {
		case change := <-changes.ResultChan():
			changed, ok := change.Object.(*v1alpha1.StorageBackend)
			if !ok {
				b.Fatalf("%+v", change.Object)
			}
			if meta.IsStatusConditionPresentAndEqual(changed.Status.Conditions, v1alpha1.ConditionReady, want) {
				return time.Since(began)
			}
		case <-over:
			b.Fatal("a changed Secret was not acted on within a minute")
		}
	}
}

// controlPlane is an API server with a namespace of its own.
type controlPlane struct {
	config     *rest.Config
	client     client.WithWatch
	namespace  string
	kubeconfig string // a file
}

func startControlPlane(b *testing.B) controlPlane {
	b.Helper()
	env := envtest.Environment{
		BinaryAssetsDirectory: servers.ControlPlaneAssets(b),
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd")},
		ErrorIfCRDPathMissing: true,
	}
	_, err := env.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := env.Stop(); err != nil {
			b.Error(err)
		}
	})
	admin, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, &rest.Config{QPS: -1})
	if err != nil {
		b.Fatal(err)
	}
	c := controlPlane{config: admin.Config(), kubeconfig: filepath.Join(b.TempDir(), "kubeconfig")}
	content, err := admin.KubeConfig()
	if err == nil {
		err = os.WriteFile(c.kubeconfig, content, 0o600)
	}
	scheme := runtime.NewScheme()
	if err = errors.Join(err, clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		b.Fatal(err)
	}
	if c.client, err = client.NewWithWatch(c.config, client.Options{Scheme: scheme}); err != nil {
		b.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := c.client.Create(b.Context(), ns); err != nil {
		b.Fatal(err)
	}
	c.namespace = ns.Name
	return c
}

// declare creates everything, backends first, as somebody in a hurry would.
func (c controlPlane) declare(b *testing.B, server servers.S3Server) {
	b.Helper()
	for _, name := range []string{sharedKeys, ownKeys} {
		if err := c.client.Create(b.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.namespace},
			StringData: map[string]string{"access": server.AccessKey, "secret": server.SecretKey, "ca": string(server.CA)},
		}); err != nil {
			b.Fatal(err)
		}
	}
	all, ctx := errgroup.WithContext(b.Context())
	all.SetLimit(16)
	for i := range declaredBackends {
		secret := sharedKeys
		if i == 0 {
			secret = ownKeys
		}
		key := func(name string) *v1alpha1.ValueRef { return &v1alpha1.ValueRef{Name: secret, Key: name} }
		all.Go(func() error {
			return c.client.Create(ctx, &v1alpha1.StorageBackend{
				ObjectMeta: metav1.ObjectMeta{Name: backendName(i), Namespace: c.namespace},
				Spec: v1alpha1.StorageBackendSpec{
					S3: &v1alpha1.S3Spec{
						EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket, KeyPrefix: backendName(i),
						AccessKeyRef: key("access"), SecretKeyRef: key("secret"), CABundleRef: key("ca"),
					},
					Probe: v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: time.Minute}},
				},
			})
		})
	}
	for p := range declaredPolicies {
		all.Go(func() error {
			policy := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("policy-%02d", p), Namespace: c.namespace}}
			for r := range rulesEach {
				rule := v1alpha1.RoutingRule{Backends: targetsOf(p, r)}
				// A rule for everyone would leave nothing to younger policies: it stands in all of them apart.
				producers := producersOf(p, r)
				if producers == nil {
					producers = []string{"everyone-else-*"}
				}
				rule.Match = &v1alpha1.RoutingMatch{Producers: producers}
				policy.Spec.Rules = append(policy.Spec.Rules, rule)
			}
			return c.client.Create(ctx, policy)
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
}

// allReady says what is not Ready as it is declared; tried wants every verb tried as well.
func (c controlPlane) allReady(b *testing.B, tried bool) error {
	b.Helper()
	var backends v1alpha1.StorageBackendList
	var policies v1alpha1.RoutingPolicyList
	for _, list := range []client.ObjectList{&backends, &policies} {
		if err := c.client.List(b.Context(), list, client.InNamespace(c.namespace)); err != nil {
			return err
		}
	}
	unready, first := 0, ""
	judge := func(o client.Object, conditions []metav1.Condition, and bool) {
		is := meta.FindStatusCondition(conditions, "Ready")
		if is != nil && is.Status == metav1.ConditionTrue && is.ObservedGeneration == o.GetGeneration() && and {
			return
		}
		if unready++; first == "" {
			first = fmt.Sprintf("%s: %+v", o.GetName(), is)
		}
	}
	for i := range backends.Items {
		judge(&backends.Items[i], backends.Items[i].Status.Conditions, !tried || len(backends.Items[i].Status.Capabilities) > 0)
	}
	for i := range policies.Items {
		judge(&policies.Items[i], policies.Items[i].Status.Conditions, true)
	}
	if n := len(backends.Items) + len(policies.Items); n != declaredBackends+declaredPolicies {
		return fmt.Errorf("%d objects", n)
	}
	if unready > 0 {
		wait(b, time.Second) // to list 600 objects takes from what is measured
		return fmt.Errorf("%d are not ready; %s", unready, first)
	}
	return nil
}

// settle waits until nothing was written for a while.
func (c controlPlane) settle(b *testing.B) {
	b.Helper()
	writes, since := c.writes(b), time.Now()
	programs.EventuallyWithin(b, 5*time.Minute, func() error {
		if changed := c.changed(b, writes); len(changed) > 0 {
			writes, since = c.writes(b), time.Now()
		}
		if time.Since(since) < settledAfter {
			wait(b, time.Second)
			return errors.New("it is written to still")
		}
		return nil
	})
}

var requested = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)

// writes are the requests that changed something (and those that tried), by
// what they were, as the API server counts them. What it writes itself are leases and the like.
func (c controlPlane) writes(b *testing.B) map[string]float64 {
	b.Helper()
	httpClient, err := rest.HTTPClientFor(c.config)
	if err != nil {
		b.Fatal(err)
	}
	answer, err := httpClient.Get(strings.TrimSuffix(c.config.Host, "/") + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	found := map[string]float64{}
	reads := regexp.MustCompile(`verb="(GET|LIST|WATCH|CONNECT)"`)
	ours := regexp.MustCompile(`resource="(storagebackends|routingpolicies|events|secrets|cronjobs|jobs|pods|configmaps)"`)
	seen := 0
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, mebibyte)
	for lines.Scan() {
		m := requested.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		seen++
		if !ours.MatchString(m[1]) || reads.MatchString(m[1]) {
			continue
		}
		if found[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			b.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil || answer.StatusCode != http.StatusOK || seen == 0 {
		b.Fatalf("the API server's metrics: %s, %d counters, %v", answer.Status, seen, err)
	}
	return found
}

// written is how many writes there were so far.
func (c controlPlane) written(b *testing.B) (sum float64) {
	b.Helper()
	for _, n := range c.writes(b) {
		sum += n
	}
	return sum
}

// changed lists what was written since.
func (c controlPlane) changed(b *testing.B, since map[string]float64) (changed []string) {
	b.Helper()
	now := c.writes(b)
	for what, n := range now {
		if n != since[what] {
			changed = append(changed, fmt.Sprintf("%g times %s", n-since[what], what))
		}
	}
	if len(now) == 0 {
		b.Fatal("the API server counts no write at all")
	}
	return changed
}

// probesOf is how many looks the manager has counted.
func probesOf(b *testing.B, m *programs.Manager) (looks int) {
	b.Helper()
	answer, err := http.Get(m.URL + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "artifactstore_backend_probes_total{") {
			continue
		}
		fields := strings.Fields(line)
		n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			b.Fatal(err)
		}
		looks += int(n)
	}
	return looks
}

// clockTicks in a second, by which Linux tells CPU times on every platform that Go runs on.
const clockTicks = 100

// cpuTime is what a process has used so far, in user and system mode.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// Behind the name, which may hold anything, fields 14 and 15 of all.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}

// wait is the time over which something is measured.
func wait(b *testing.B, span time.Duration) {
	b.Helper()
	select {
	case <-time.After(span):
	case <-b.Context().Done():
		b.Fatal(b.Context().Err())
	}
}
