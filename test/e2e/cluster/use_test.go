//go:build e2e

package cluster

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// content is a folder that every image of ours has.
const content = "/etc/ssl"

// pushFromAPod pushes and pulls with the account of the pod.
func pushFromAPod(t *testing.T, w *world) {
	for class, backend := range map[string]string{"release": "general", "evidence": "evidence"} {
		name := "certificates-" + class
		pushed := w.must(t, "producer", "push", content, "--producer", "e2e", "--name", name, "--version", "1", "--retention-class", class)
		if !regexp.MustCompile(`(?m)^backend\s+` + backend + `$`).MatchString(pushed) {
			t.Errorf("pushed to another backend than %s:\n%s", backend, pushed)
		}
		w.must(t, "producer", "pull", "e2e/"+name+"@1", "-d", "/tmp/pulled")
		w.must(t, "producer", "manifest", "verify", "e2e/"+name+"@1", content)
	}
}

// metrics are served by every replica, in the clear; those of backends by the one that probes alone.
func metrics(t *testing.T, w *world) {
	usable := regexp.MustCompile(`(?m)^artifactstore_backend_usable\{backend="(\w+)"\} 1$`)
	eventually(t, func() error {
		probing := map[string]int{}
		for _, pod := range w.managers(t) {
			text, err := w.pods.CoreV1().Pods(system).ProxyGet("http", pod.Name, "8081", "/metrics", nil).DoRaw(background)
			if err != nil {
				return err
			}
			if !strings.Contains(string(text), "artifactstore_tls_certificate_expiry_timestamp_seconds 1.") {
				return fmt.Errorf("%s does not say when its certificate ends", pod.Name)
			}
			for _, found := range usable.FindAllStringSubmatch(string(text), -1) {
				probing[found[1]]++
			}
		}
		if fmt.Sprint(probing) != "map[evidence:1 general:1]" {
			return fmt.Errorf("usable by how many replicas: %v; want one each", probing)
		}
		return nil
	})
}

// secretRotation: new keys are taken up at once and without a failed request,
// the old ones are then taken back; a Secret that is gone is said, and the last
// good keys serve on; keys that the server refuses are said as well.
func secretRotation(t *testing.T, w *world) {
	const backend = "general"
	old := w.places[backend]
	counted, failures := w.underLoad(t, func() {
		fresh := w.objects.NewKeys(t, old)
		w.keys(t, backend, fresh)
		// The old keys stay good until the new ones were taken up; both replicas have seen the Secret by the time
		// that the leader has probed with it, and requests in flight end on what they began with.
		w.probedSince(t, backend, func() {})
		w.objects.Revoke(t, old)
		w.places[backend] = fresh
	})
	if counted.Failures != 0 {
		t.Errorf("of %d pushes failed %d: %q", counted.Pushes, counted.Failures, failures)
	}
	w.waitCondition(t, backend, v1alpha1.ConditionReady, metav1.ConditionTrue, "Ready")

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: backend + "-keys"}}
	if err := w.client.Delete(background, secret); err != nil {
		t.Fatal(err)
	}
	gone := w.waitCondition(t, backend, v1alpha1.ConditionCredentialsResolved, metav1.ConditionFalse, "SecretNotFound")
	if !strings.Contains(gone.Message, backend+"-keys") {
		t.Errorf("it does not say which Secret: %s", gone.Message)
	}
	w.must(t, "producer", "pull", "e2e/certificates-release@1", "-d", "/tmp/pulled")

	wrong := w.places[backend]
	wrong.SecretKey = "not-the-secret-key"
	w.keys(t, backend, wrong)
	refused := w.waitCondition(t, backend, v1alpha1.ConditionReachable, metav1.ConditionFalse, storage.ReasonSecretKeyWrong)
	if strings.Contains(refused.Message, wrong.SecretKey) {
		t.Errorf("the secret shows: %s", refused.Message)
	}
	w.keys(t, backend, w.places[backend])
	w.waitCondition(t, backend, v1alpha1.ConditionReady, metav1.ConditionTrue, "Ready")
}

// probedSince does something and waits until the backend was probed after it.
func (w *world) probedSince(t *testing.T, backend string, do func()) {
	t.Helper()
	count := func() (total float64) {
		for _, pod := range w.managers(t) {
			text, err := w.pods.CoreV1().Pods(system).ProxyGet("http", pod.Name, "8081", "/metrics", nil).DoRaw(background)
			if err != nil {
				continue
			}
			for _, found := range regexp.MustCompile(`(?m)^artifactstore_backend_probes_total\{backend="`+backend+`",reason="\w*"\} (\d+)$`).FindAllStringSubmatch(string(text), -1) {
				var n float64
				fmt.Sscan(found[1], &n) //nolint:errcheck // digits
				total += n
			}
		}
		return total
	}
	before := count()
	do()
	eventually(t, func() error {
		if now := count(); now <= before {
			return fmt.Errorf("%s was probed %v times", backend, now)
		}
		return nil
	})
}
