package bench

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
