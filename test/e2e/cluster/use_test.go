//go:build e2e

package cluster

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	counted, failures := w.underLoad(t, func(goesOn func()) {
		replicas := w.waitReady(t)
		before, err := w.takenUp(t, backend)
		if err != nil {
			t.Fatal(err)
		}
		if len(before) != len(replicas) {
			t.Fatalf("%d replicas are ready, and %v say since when they serve %s", len(replicas), before, backend)
		}
		fresh := w.objects.NewKeys(t, old)
		w.keys(t, backend, fresh)
		// Each replica tries the new keys by itself. The old ones stay good until both have
		// taken those up, and a moment more: what is under way ends on what it began with.
		eventually(t, func() error {
			now, err := w.takenUp(t, backend)
			for name, since := range before {
				if err == nil && now[name] <= since {
					err = fmt.Errorf("%s has not taken up the new keys", name)
				}
			}
			return err
		})
		goesOn()
		w.objects.Revoke(t, old)
		w.places[backend] = fresh
		for _, pod := range replicas {
			w.through(t, pod)
		}
		w.recheck(t, backend)
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

// recheck asks for a probe by annotation, and waits until one was made for that.
func (w *world) recheck(t *testing.T, backend string) {
	t.Helper()
	asked := time.Now().UTC().Format(time.RFC3339Nano)
	if output, err := w.run(t, w.kubectl, "-n", system, "annotate", "sb", backend, v1alpha1.RequestAnnotation+"="+asked, "--overwrite"); err != nil {
		t.Fatal(err, output)
	}
	eventually(t, func() error {
		var sb v1alpha1.StorageBackend
		if err := w.client.Get(background, client.ObjectKey{Namespace: system, Name: backend}, &sb); err != nil {
			return err
		}
		if sb.Status.LastHandledRequest != asked {
			return fmt.Errorf("handled is %q, want %q: %+v", sb.Status.LastHandledRequest, asked, sb.Status.Conditions)
		}
		return nil
	})
}

// takenUp is when each replica took up the keys that it uses for a backend, by its name.
func (w *world) takenUp(t *testing.T, backend string) (map[string]float64, error) {
	t.Helper()
	series := regexp.MustCompile(`(?m)^artifactstore_backend_taken_up_timestamp_seconds\{backend="` + backend + `"\} (\S+)$`)
	at := map[string]float64{}
	for _, pod := range w.managers(t) {
		text, err := w.pods.CoreV1().Pods(system).ProxyGet("http", pod.Name, "8081", "/metrics", nil).DoRaw(background)
		if err != nil {
			return nil, err
		}
		found := series.FindSubmatch(text)
		if found == nil {
			return nil, fmt.Errorf("%s does not say when it took up %s", pod.Name, backend)
		}
		if at[pod.Name], err = strconv.ParseFloat(string(found[1]), 64); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// through pushes to one replica, which no other can answer for, and pulls it back from there.
func (w *world) through(t *testing.T, manager corev1.Pod) {
	t.Helper()
	what := "through-" + manager.Name
	for _, args := range [][]string{
		{"push", content, "--producer", "e2e", "--name", what, "--version", "1", "--retention-class", "release"},
		{"pull", "e2e/" + what + "@1", "-d", "/tmp/pulled"},
	} {
		pod := w.pod("producer", w.image, append([]string{"/usr/local/bin/artifactstore"}, args...)...)
		// The name that the certificate is for, at that pod.
		pod.Spec.HostAliases = []corev1.HostAlias{{IP: manager.Status.PodIP, Hostnames: []string{strings.TrimPrefix(server, "https://")}}}
		for i := range pod.Spec.Containers[0].Env {
			if e := &pod.Spec.Containers[0].Env[i]; e.Name == "ARTIFACTSTORE_SERVER" {
				e.Value = server + ":8443"
			}
		}
		if done := w.finish(t, pod); done.code != 0 {
			t.Errorf("%s %s: exit %d\n%s", args[0], what, done.code, done.output)
		}
	}
}
