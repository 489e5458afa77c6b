package controllers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/test/servers"
)

// holds has the log name live locations in a backend, and waits until its object says so.
func (c *cluster) holds(sb *v1alpha1.StorageBackend, live int64) {
	c.t.Helper()
	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: live})
	c.held(sb, live > 0)
}

// held waits until a backend's finalizer and status say whether it is in use.
func (c *cluster) held(sb *v1alpha1.StorageBackend, held bool) {
	c.t.Helper()
	eventually(c.t, func() string {
		if err := c.client.Get(c.t.Context(), client.ObjectKeyFromObject(sb), sb); err != nil {
			return err.Error()
		}
		if is := controllerutil.ContainsFinalizer(sb, v1alpha1.Finalizer); is != held || sb.Status.InUse != held {
			return fmt.Sprintf("%s: finalizer %v, in use %v; want %v", sb.Name, is, sb.Status.InUse, held)
		}
		return ""
	})
}

// remove deletes a backend, in use or not.
func (c *cluster) remove(sb *v1alpha1.StorageBackend) {
	c.t.Helper()
	c.edit(sb, func() { metav1.SetMetaDataAnnotation(&sb.ObjectMeta, v1alpha1.ConfirmAnnotation, sb.Name) })
	if err := c.client.Delete(c.t.Context(), sb); err != nil {
		c.t.Fatal(err)
	}
}

// TestClusterHoldsWhatIsInUse, within seconds of the first package, though the
// next look is an hour away, and nothing that holds nothing.
func TestClusterHoldsWhatIsInUse(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("first")
	c.edit(sb, func() { sb.Spec.Probe.Interval = &metav1.Duration{Duration: time.Hour} })
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.held(sb, false)
	c.holds(sb, 1)
	// What no longer holds anything is let go at the next look.
	c.registrar.Find(sb.Status.ID, registrar.Findings{})
	c.edit(sb, func() { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: "now"} })
	c.held(sb, false)
	// It goes without waiting for anybody, and the log lets go of it.
	if err := c.client.Delete(t.Context(), sb); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(sb), sb); !apierrors.IsNotFound(err) {
		t.Errorf("it waits: %v", err)
	}
	eventually(t, func() string {
		if released := c.registrar.Released(); !slices.Contains(released, sb.Status.ID) {
			return fmt.Sprintf("released are %q, not %s", released, sb.Status.ID)
		}
		return ""
	})
}

// TestClusterTellsOfWhatWentInUse: what was deleted in the moment of the first package.
func TestClusterTellsOfWhatWentInUse(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("early")
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	id := sb.Status.ID
	if err := c.client.Delete(t.Context(), sb); err != nil {
		t.Fatal(err)
	}
	c.registrar.Find(id, registrar.Findings{Live: 1})
	eventually(t, func() string {
		if text := c.logs.String(); strings.Contains(text, "declare the same place again") && strings.Contains(text, id) || slices.Contains(c.registrar.Released(), id) {
			return ""
		}
		return "the log has no word of it"
	})
	again := c.local2(sb, "early")
	c.until(again, "Ready", metav1.ConditionTrue, status.ReasonReady)
	if again.Status.ID != id {
		t.Errorf("declared again it is %s, not %s", again.Status.ID, id)
	}
	c.held(again, true)
}

// local2 declares the place of a backend again.
func (c *cluster) local2(sb *v1alpha1.StorageBackend, name string) *v1alpha1.StorageBackend {
	again := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.StorageBackendSpec{Local: sb.Spec.Local}}
	c.create(again)
	return again
}

// TestClusterUndoesADeletion: the message names the harmless way, and it works.
func TestClusterUndoesADeletion(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("deleted")
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	id := sb.Status.ID
	c.holds(sb, 7)
	c.remove(sb)
	is := c.until(sb, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
	keep, abandon := strings.Index(is.Message, "to keep them, declare another StorageBackend with the same spec.local.path"), strings.Index(is.Message, "to abandon them")
	if keep < 0 || abandon < keep {
		t.Errorf("the harmless way does not come first: %q", is.Message)
	}
	c.goesTo(c.table, "x", "")
	again := c.local2(sb, "declared-again")
	c.until(again, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.goesTo(c.table, "x", "declared-again")
	c.gone(sb)
	if again.Status.ID != id {
		t.Errorf("it is %s, not %s", again.Status.ID, id)
	}
	if released := c.registrar.Released(); slices.Contains(released, id) {
		t.Error("the log let go of a backend that is still declared")
	}
}

// TestPolicyKeepsWhatIsInUse: its deletion is refused in words that say what to
// do, unless somebody confirms it.
func TestPolicyKeepsWhatIsInUse(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb, unused := c.local("used"), c.local("unused")
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(unused, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.holds(sb, 7)
	refused := func(by func() error) {
		t.Helper()
		eventually(t, func() string { // the API server reads new policies with a delay
			err := by()
			if err == nil {
				return "it is deleted"
			}
			for _, says := range []string{"used (status.inUse)", "declare the same place under another name", v1alpha1.ConfirmAnnotation + "=used"} {
				if !strings.Contains(err.Error(), says) {
					return fmt.Sprintf("%v does not say %q", err, says)
				}
			}
			return ""
		})
	}
	dry := client.DryRunAll
	refused(func() error { return c.client.Delete(t.Context(), sb, dry) })
	refused(func() error {
		return c.client.DeleteAllOf(t.Context(), &v1alpha1.StorageBackend{}, client.InNamespace(c.namespace), client.MatchingFields{"metadata.name": "used"})
	})
	for _, wrong := range []map[string]string{
		{v1alpha1.ConfirmAnnotation: "unused"}, {v1alpha1.ConfirmAnnotation: "true"}, {v1alpha1.AbandonAnnotation: "used"}, {v1alpha1.RequestAnnotation: "now"},
	} {
		c.edit(sb, func() { sb.Annotations = wrong })
		refused(func() error { return c.client.Delete(t.Context(), sb) })
	}
	if err := c.client.Delete(t.Context(), unused); err != nil {
		t.Errorf("what is not in use: %v", err)
	}
	for _, right := range []map[string]string{{v1alpha1.ConfirmAnnotation: "used"}, {v1alpha1.AbandonAnnotation: sb.Status.ID}} {
		c.edit(sb, func() { sb.Annotations = right })
		if err := c.client.Delete(t.Context(), sb, dry); err != nil {
			t.Errorf("%v: %v", right, err)
		}
	}
}

// TestNamespaceIsDeleted, by a namespace controller as clusters have it: at once
// where nothing is in use, without a manager; otherwise the policy lets the
// deletion through, and the object waits as its status says.
func TestNamespaceIsDeleted(t *testing.T) {
	t.Parallel()
	config := controlPlane(t)
	kubeconfig := namespaceController(t)
	empty, used := startCluster(t, config, false), startCluster(t, config, false)
	unused, held := empty.local("unused"), used.local("used")
	empty.until(unused, "Ready", metav1.ConditionTrue, status.ReasonReady)
	used.until(held, "Ready", metav1.ConditionTrue, status.ReasonReady)
	used.holds(held, 7)
	remove := func(c *cluster) {
		t.Helper()
		if err := c.client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}); err != nil {
			t.Fatal(err)
		}
	}
	removed := func(c *cluster) {
		t.Helper()
		eventuallyIn(t, time.Minute, func() string {
			ns := &corev1.Namespace{}
			if err := c.client.Get(t.Context(), client.ObjectKey{Name: c.namespace}, ns); !apierrors.IsNotFound(err) {
				return fmt.Sprintf("still %s: %+v, %v", ns.Status.Phase, ns.Status.Conditions, err)
			}
			return ""
		})
	}
	remove(empty)
	removed(empty)
	remove(used)
	is := used.until(held, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
	if !strings.Contains(is.Message, "names 7 live locations") {
		t.Errorf("%q", is.Message)
	}
	// Nothing can be made there, and the commands say why before they try.
	for _, command := range []string{"install", "deploy"} {
		make := exec.Command(filepath.Join("..", "hack", "cluster.sh"), command)
		make.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "KUBECTL="+servers.Kubectl(t), "NAMESPACE="+used.namespace)
		said, err := make.CombinedOutput()
		if err == nil || !strings.Contains(string(said), "The namespace "+used.namespace+" is being deleted") || !strings.Contains(string(said), "used: "+is.Message) {
			t.Errorf("%s: %v\n%s", command, err, said)
		}
	}
	// As docs/OPERATOR.md says.
	if err := used.client.Patch(t.Context(), held, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err)
	}
	removed(used)
}

// TestInstallUnderAnotherName: what belongs to no namespace is installed as it is.
func TestInstallUnderAnotherName(t *testing.T) {
	t.Parallel()
	c, _ := apiClient(t)
	install := exec.Command(filepath.Join("..", "hack", "cluster.sh"), "install")
	install.Env = append(os.Environ(), "KUBECONFIG="+administrator(t), "KUBECTL="+servers.Kubectl(t), "NAMESPACE=under-another-name")
	if said, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var ns corev1.Namespace
	if err := c.Get(t.Context(), client.ObjectKey{Name: "under-another-name"}, &ns); err != nil || ns.Labels["artifactstore.dev/manager"] == "" {
		t.Errorf("%v, %v", ns.Labels, err)
	}
}

// namespaceController runs that controller of Kubernetes for the shared API
// server, and returns a kubeconfig of its administrator.
func namespaceController(t *testing.T) (file string) {
	t.Helper()
	file = administrator(t)
	kubeconfig, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	servers.ControllerManager(t, kubeconfig, "namespace-controller")
	return file
}

// administrator returns a kubeconfig for the shared API server.
func administrator(t *testing.T) (file string) {
	t.Helper()
	controlPlane(t)
	plane.users.Lock()
	user, err := plane.env.AddUser(envtest.User{Name: "administrator", Groups: []string{"system:masters"}}, nil)
	plane.users.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// warnings collects what the API server warns a client of.
type warnings struct{ all []string }

func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.all = append(w.all, text) }

// warned is a client whose warnings are collected.
func warned(t *testing.T) (client.Client, *warnings) {
	t.Helper()
	w := &warnings{}
	config := controlPlane(t)
	config.WarningHandler = w
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

// label has a namespace be one that a manager follows.
func label(t *testing.T, c client.Client, namespace string) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"artifactstore.dev/manager":"artifact-store"}}}`))
	if err := c.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, patch); err != nil {
		t.Fatal(err)
	}
}

// TestPolicyWarnsOfWhatNobodyFollows, and refuses nothing.
func TestPolicyWarnsOfWhatNobodyFollows(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	told, warnings := warned(t)
	for kind, spec := range map[string]string{"StorageBackend": "{local: {path: /a}}", "RoutingPolicy": "{rules: [{backends: [a]}]}"} {
		try := func() string {
			warnings.all = nil
			o := object(t, ns, kind, "anywhere", spec)
			if err := told.Create(t.Context(), o, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			return strings.Join(warnings.all, "\n")
		}
		eventually(t, func() string {
			if said := try(); !strings.Contains(said, "no manager follows the namespace "+ns) || !strings.Contains(said, kind+" has no effect") {
				return fmt.Sprintf("%s: warned of %q", kind, said)
			}
			return ""
		})
	}
	label(t, c, ns)
	eventually(t, func() string {
		warnings.all = nil
		if err := told.Create(t.Context(), object(t, ns, "StorageBackend", "followed", "{local: {path: /a}}"), client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		return strings.Join(warnings.all, "\n")
	})
}

// TestPolicyRefusesReferencesOfFiles where a manager of a cluster follows them.
func TestPolicyRefusesReferencesOfFiles(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	const keys = "accessKeyRef: {name: keys, key: a}, secretKeyRef: {name: keys, key: s}"
	old := object(t, ns, "StorageBackend", "old", "{s3: {bucket: bbb, "+keys+", caBundleRef: {file: /ca}}}")
	if err := c.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	label(t, c, ns)
	for i, refs := range []string{
		"accessKeyRef: {env: A}, secretKeyRef: {name: keys, key: s}", "accessKeyRef: {name: keys, key: a}, secretKeyRef: {file: /s}",
		keys + ", sessionTokenRef: {env: T}", keys + ", caBundleRef: {file: /ca}",
	} {
		eventually(t, func() string {
			err := c.Create(t.Context(), object(t, ns, "StorageBackend", fmt.Sprintf("bad-%d", i), "{s3: {bucket: bbb, "+refs+"}}"), client.DryRunAll)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "in a cluster references name a Secret (name and key), not env or file") {
				return fmt.Sprintf("%s: %v", refs, err)
			}
			return ""
		})
	}
	for name, spec := range map[string]string{"good": "{s3: {bucket: bbb, " + keys + "}}", "folder": "{local: {path: /a}}", "none": "{s3: {bucket: bbb}}"} {
		if err := c.Create(t.Context(), object(t, ns, "StorageBackend", name, spec)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was stored before stays usable: finalizers and annotations are written.
	old.SetAnnotations(map[string]string{v1alpha1.RequestAnnotation: "now"})
	if err := c.Update(t.Context(), old); err != nil {
		t.Errorf("an annotation on what is stored already: %v", err)
	}
}

var _ rest.WarningHandler = (*warnings)(nil)
