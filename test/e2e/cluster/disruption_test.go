//go:build e2e

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// rollingUpdate deploys the next version while pods push and pull: no request fails.
func rollingUpdate(t *testing.T, w *world) {
	counted, failures := w.underLoad(t, func(func()) {
		before := w.managers(t)
		w.make(t, "deploy", "IMAGE="+w.after)
		for _, pod := range w.waitReady(t) {
			if got := pod.Spec.Containers[0].Image; got != w.after {
				t.Errorf("%s runs %s", pod.Name, got)
			}
		}
		// The load goes on while the old pods end, to their last.
		eventually(t, func() error {
			for _, pod := range before {
				if err := w.client.Get(background, client.ObjectKeyFromObject(&pod), &corev1.Pod{}); !apierrors.IsNotFound(err) {
					return fmt.Errorf("%s is still there (%v)", pod.Name, err)
				}
			}
			return nil
		})
	})
	if counted.Failures != 0 {
		t.Errorf("%d failures: %q", counted.Failures, failures)
	}
	t.Logf("during the update: %+v", counted)
}

// eviction: draining nodes takes one replica at a time, and no request fails.
func eviction(t *testing.T, w *world) {
	counted, failures := w.underLoad(t, func(func()) {
		pods := w.waitReady(t)
		evict := func(pod corev1.Pod) error {
			return w.pods.PolicyV1().Evictions(system).Evict(background, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: pod.Name}})
		}
		if err := evict(pods[0]); err != nil {
			t.Fatal(err)
		}
		if err := evict(pods[1]); !apierrors.IsTooManyRequests(err) {
			t.Errorf("the second of two is evicted at once: %v", err)
		}
		w.waitReady(t)
		eventually(t, func() error { return evict(pods[1]) })
		w.waitReady(t)
	})
	if counted.Failures != 0 {
		t.Errorf("%d failures: %q", counted.Failures, failures)
	}
	t.Logf("during the evictions: %+v", counted)
}

// killedLeader: a replica that is gone without a word costs the requests that
// it had, and no later ones; another takes the lease.
func killedLeader(t *testing.T, w *world) {
	w.waitReady(t)
	var leader string
	eventually(t, func() error { // it may still be one that was evicted before
		if leader = w.leader(t); !w.isManager(t, leader) {
			return fmt.Errorf("the lease is of %q, which is gone", leader)
		}
		return nil
	})
	counted, failures := w.underLoad(t, func(func()) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: leader}}
		if err := w.client.Delete(background, pod, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
		w.waitReady(t)
	})
	// What was under way is lost, and a moment more until no new connection goes there.
	const most = 40
	if counted.Failures > most {
		t.Errorf("%d failures: %q", counted.Failures, failures)
	}
	t.Logf("when the leader was killed: %+v, %q", counted, failures)
	eventually(t, func() error {
		if now := w.leader(t); now == leader || !w.isManager(t, now) {
			return fmt.Errorf("the lease is still of %s", now)
		}
		return nil
	})
	// The new leader probes and writes statuses.
	w.recheck(t, "general")
}

// databaseAway: without the database no replica is ready, and none is started again; it comes back by itself.
func databaseAway(t *testing.T, w *world) {
	before := w.waitReady(t)
	w.database.set(true)
	defer w.database.set(false)
	eventually(t, func() error {
		for _, pod := range w.managers(t) {
			if isReady(pod) {
				return fmt.Errorf("%s is ready without the database", pod.Name)
			}
		}
		return nil
	})
	// Three failed liveness probes, 20 s apart, would have a container started again.
	long := time.Now().Add(70 * time.Second)
	eventually(t, func() error {
		if now := w.managers(t); restarts(now) != restarts(before) || len(now) != len(before) {
			t.Fatalf("a replica was started again: %+v", now)
		}
		if time.Now().Before(long) {
			return fmt.Errorf("waiting for longer than liveness would")
		}
		return nil
	})
	w.database.set(false)
	after := w.waitReady(t)
	if restarts(after) != restarts(before) || !sameNames(before, after) {
		t.Error("the replicas that are ready again are others")
	}
	w.must(t, "producer", "pull", "e2e/certificates-release@1", "-d", "/tmp/pulled")
}

func sameNames(a, b []corev1.Pod) bool {
	names := func(pods []corev1.Pod) (all []string) {
		for _, pod := range pods {
			all = append(all, pod.Name)
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(names(a), names(b))
}

// certificateRotation: a new certificate, of another CA, is served without a pod being started again.
func certificateRotation(t *testing.T, w *world) {
	before := w.waitReady(t)
	if output, err := w.run(t, "hack/certificate.sh"); err != nil {
		t.Fatalf("hack/certificate.sh: %v\n%s", err, output)
	}
	w.trust(t)
	// The kubelet takes up to 90 s, for each pod on its own: three answers in a row are of both, most likely.
	inARow := 0
	eventually(t, func() error {
		done := w.cli(t, "producer", "show", "e2e/certificates-release@1")
		if inARow++; done.code != 0 {
			inARow = 0
		}
		if inARow < 3 {
			return fmt.Errorf("exit %d: %s", done.code, done.output)
		}
		return nil
	})
	if after := w.managers(t); restarts(after) != restarts(before) || !sameNames(before, after) {
		t.Error("the certificate took a new pod")
	}
	for _, pod := range before {
		if !strings.Contains(w.logs(t, &pod, nil), `"serving with a certificate"`) {
			t.Errorf("%s does not say which certificate it serves with", pod.Name)
		}
	}
}
