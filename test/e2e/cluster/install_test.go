//go:build e2e

package cluster

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/servers"
)

// install goes the way of docs/INSTALL.md, and meets each refusal on it.
func install(t *testing.T, w *world) {
	image := "IMAGE=" + w.image
	w.refused(t, "run make install first", "deploy", image)
	w.make(t, "install")
	w.refused(t, "the Secret artifact-store-database is missing", "deploy", image)
	w.secret(t, "artifact-store-database", map[string]string{"url": w.database.url()})
	w.refused(t, "the Secret artifact-store-tls is missing", "deploy", image)
	if output, err := w.run(t, "hack/certificate.sh"); err != nil {
		t.Fatalf("hack/certificate.sh: %v\n%s", err, output)
	}
	w.make(t, "deploy", image)

	for _, pod := range w.waitReady(t) {
		if got := pod.Spec.Containers[0].Image; got != w.image {
			t.Errorf("%s runs %s", pod.Name, got)
		}
	}
	if restarted := restarts(w.managers(t)); restarted != 0 {
		t.Errorf("the managers were started %d times more than once", restarted)
	}
	w.makeUsers(t)
}

// makeUsers makes the namespace of the users, their accounts with what each may
// do, and gives them the CA.
func (w *world) makeUsers(t *testing.T) {
	t.Helper()
	w.apply(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: users, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}})
	for _, name := range []string{"producer", "stranger", "load", "admin"} {
		w.apply(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: name}})
	}
	w.grantPackages(t, "producer", "e2e")
	w.grantPackages(t, "load", "load")
	if output, err := w.run(t, w.kubectl, "apply", "-f", "config/samples/access/operators.yaml", "-n", system); err != nil {
		t.Fatal(err, output)
	}
	if output, err := w.run(t, w.kubectl, "-n", system, "create", "rolebinding", "admin", "--role=operators", "--serviceaccount="+users+":admin"); err != nil {
		t.Fatal(err, output)
	}
	w.trust(t)
}

// grantPackages is how one grants a producer to an account.
func (w *world) grantPackages(t *testing.T, account, producer string) {
	t.Helper()
	for _, args := range [][]string{
		{"create", "role", account + "-" + producer, "--verb=create,get,list", "--resource=packages.artifactstore.dev", "--resource-name=" + producer},
		{"create", "rolebinding", account + "-" + producer, "--role=" + account + "-" + producer, "--serviceaccount=" + users + ":" + account},
	} {
		if output, err := w.run(t, w.kubectl, append([]string{"-n", system}, args...)...); err != nil {
			t.Fatal(err, output)
		}
	}
}

// trust gives the users the CA of the Secret artifact-store-tls as it is now.
func (w *world) trust(t *testing.T) {
	t.Helper()
	var tls corev1.Secret
	if err := w.client.Get(background, client.ObjectKey{Namespace: system, Name: "artifact-store-tls"}, &tls); err != nil {
		t.Fatal(err)
	}
	w.apply(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: "artifact-store-ca"}, Data: map[string]string{"ca.crt": string(tls.Data["ca.crt"])}})
}

// restricted: the namespace lets in no pod that is not, and ours are in it.
func restricted(t *testing.T, w *world) {
	for _, pod := range w.managers(t) {
		own := pod.Spec.Containers[0].SecurityContext
		if !*own.ReadOnlyRootFilesystem || *own.AllowPrivilegeEscalation || !*pod.Spec.SecurityContext.RunAsNonRoot {
			t.Errorf("%s: %+v", pod.Name, own)
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "root"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: w.image}}},
	}
	if err := w.client.Create(background, pod); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		t.Errorf("a pod that is not restricted: %v", err)
	}
}

// sqliteForSeveral: the manager says at its start that several replicas need PostgreSQL.
func sqliteForSeveral(t *testing.T, w *world) {
	pod := w.pod("stranger", w.image, "/usr/local/bin/manager", "--namespace=x", "--leader-elect", "--data-dir=/tmp", "--database=sqlite:///tmp/registry.db")
	if done := w.finish(t, pod); done.code != 2 || !strings.Contains(done.output, "SQLite serves only one process: set --database to a postgres:// URL") {
		t.Errorf("exit %d: %s", done.code, done.output)
	}
}

// backends declares two, and a policy between them.
func backends(t *testing.T, w *world) {
	for _, name := range []string{"general", "evidence"} {
		bucket := w.objects.Bucket(t)
		w.places[name] = bucket
		w.keys(t, name, bucket)
		w.apply(t, &v1alpha1.StorageBackend{
			ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name},
			Spec: v1alpha1.StorageBackendSpec{S3: &v1alpha1.S3Spec{
				EndpointURL: "http://" + w.s3.address, Region: bucket.Region, Bucket: bucket.Bucket,
				AccessKeyRef: &v1alpha1.ValueRef{Name: name + "-keys", Key: "access"}, SecretKeyRef: &v1alpha1.ValueRef{Name: name + "-keys", Key: "secret"},
			}},
		})
	}
	w.apply(t, &v1alpha1.RoutingPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "default"},
		Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{
			{Match: &v1alpha1.RoutingMatch{RetentionClasses: []string{"evidence"}}, Backends: []string{"evidence"}},
			{Backends: []string{"general", "evidence"}},
		}},
	})
	for name := range w.places {
		w.waitCondition(t, name, v1alpha1.ConditionReady, metav1.ConditionTrue, "Ready")
	}
	eventually(t, func() error {
		var policy v1alpha1.RoutingPolicy
		if err := w.client.Get(background, client.ObjectKey{Namespace: system, Name: "default"}, &policy); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(policy.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("the policy is not Ready: %+v", policy.Status)
		}
		return nil
	})
}

// keys puts the keys to a backend's bucket into its Secret.
func (w *world) keys(t *testing.T, backend string, bucket servers.S3Server) {
	t.Helper()
	w.secret(t, backend+"-keys", map[string]string{"access": bucket.AccessKey, "secret": bucket.SecretKey})
}

func (w *world) conditions(t *testing.T, name string) []metav1.Condition {
	t.Helper()
	var sb v1alpha1.StorageBackend
	if err := w.client.Get(background, client.ObjectKey{Namespace: system, Name: name}, &sb); err != nil {
		t.Fatal(err)
	}
	return sb.Status.Conditions
}

func (w *world) waitCondition(t *testing.T, backend, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	eventually(t, func() error {
		all := w.conditions(t, backend)
		c := meta.FindStatusCondition(all, kind)
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("%s: want %s=%s (%s), conditions are %+v", backend, kind, status, reason, all)
		}
		found = *c
		return nil
	})
	return found
}
