//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// system is where artifact-store is installed, users where its users' pods are.
	system, users = "artifact-store", "artifact-store-e2e"
	// server is the registry as pods see it.
	server = "https://artifact-store.artifact-store.svc"
	// patience bounds every wait for what should take seconds; pods start slowly on a busy machine.
	patience = 2 * time.Minute
)

var background = context.Background()

// world is the cluster and what the chapters share.
type world struct {
	root     string
	client   client.Client
	pods     kubernetes.Interface // for logs, evictions and the API server's proxy
	kubectl  string
	image    string // that is deployed
	after    string // the next version
	load     string
	database database
	objects  *servers.S3Users
	s3       *gate                       // before objects
	places   map[string]servers.S3Server // by the name of the StorageBackend
}

// setting is a variable of the environment that hack/e2e.sh sets.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run make test-e2e", name)
	}
	return value
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", setting(t, "KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 50, 100
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{
		root: root, kubectl: setting(t, "KUBECTL"), places: map[string]servers.S3Server{},
		image: setting(t, "E2E_IMAGE"), after: setting(t, "E2E_IMAGE_AFTER"), load: setting(t, "E2E_IMAGE_LOAD"),
	}
	if w.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	if w.pods, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{system, users} {
		err := w.client.Get(background, client.ObjectKey{Name: name}, &corev1.Namespace{})
		if !apierrors.IsNotFound(err) {
			t.Fatalf("the namespace %s is there already (%v): this test wants to install all by itself", name, err)
		}
	}
	w.database = newDatabase(t)
	w.objects = servers.S3WithUsers(t)
	w.s3 = newGate(t, "tcp", strings.TrimPrefix(w.objects.Endpoint(), "http://"))
	return w
}

// run runs a program in the repository's root, and returns what it says and its error.
func (w *world) run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.Command(program, args...)
	command.Dir, command.Env = w.root, os.Environ()
	output, err := command.CombinedOutput()
	return string(output), err
}

// make runs a target that must be done.
func (w *world) make(t *testing.T, args ...string) string {
	t.Helper()
	output, err := w.run(t, "make", args...)
	if err != nil {
		t.Fatalf("make %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

// refused runs a target that must not be done, and say why.
func (w *world) refused(t *testing.T, says string, args ...string) {
	t.Helper()
	began := time.Now()
	output, err := w.run(t, "make", args...)
	if err == nil || !strings.Contains(output, says) {
		t.Fatalf("make %s: %v; want a refusal that says %q\n%s", strings.Join(args, " "), err, says, output)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("make %s: took %s to refuse", strings.Join(args, " "), took)
	}
}

// apply creates an object, or puts its content in the place of what is there.
func (w *world) apply(t *testing.T, object client.Object) {
	t.Helper()
	err := w.client.Create(background, object)
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	eventually(t, func() error {
		current := object.DeepCopyObject().(client.Object)
		if err := w.client.Get(background, client.ObjectKeyFromObject(object), current); err != nil {
			return err
		}
		object.SetResourceVersion(current.GetResourceVersion())
		return w.client.Update(background, object)
	})
}

func (w *world) secret(t *testing.T, name string, values map[string]string) {
	t.Helper()
	w.apply(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name}, StringData: values})
}

// managers are the pods of the Deployment that are not ending.
func (w *world) managers(t *testing.T) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := w.client.List(background, &list, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/component": "manager"}); err != nil {
		t.Fatal(err)
	}
	var live []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp.IsZero() {
			live = append(live, pod)
		}
	}
	return live
}

func isReady(pod corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// waitReady waits until two managers are ready.
func (w *world) waitReady(t *testing.T) []corev1.Pod {
	t.Helper()
	var ready []corev1.Pod
	eventually(t, func() error {
		ready = nil
		for _, pod := range w.managers(t) {
			if isReady(pod) {
				ready = append(ready, pod)
			}
		}
		if len(ready) != 2 {
			return fmt.Errorf("%d replicas are ready, want 2", len(ready))
		}
		return nil
	})
	return ready
}

func restarts(pods []corev1.Pod) (count int32) {
	for _, pod := range pods {
		for _, container := range pod.Status.ContainerStatuses {
			count += container.RestartCount
		}
	}
	return count
}

// leader is the pod that holds the lease.
func (w *world) leader(t *testing.T) string {
	t.Helper()
	lease, err := w.pods.CoordinationV1().Leases(system).Get(background, "artifact-store-manager", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		t.Fatalf("nobody holds the lease: %v", err)
	}
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod
}

func (w *world) isManager(t *testing.T, name string) bool {
	t.Helper()
	return slices.ContainsFunc(w.managers(t), func(pod corev1.Pod) bool { return pod.Name == name })
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	programs.EventuallyWithin(t, patience, check)
}

// report says in the test's log how the cluster is.
func (w *world) report(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "pods,jobs,cronjobs,sb,rp", "-A", "-o", "wide"}, {"-n", system, "describe", "pods"}, {"-n", system, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", system, "logs", "-l", "app.kubernetes.io/component=manager", "--prefix", "--tail=60"},
	} {
		output, err := w.run(t, w.kubectl, args...)
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, tail(output))
	}
}

func tail(text string) string { return text[max(0, len(text)-12000):] }
