package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// plane is an API server, and its administrator.
type plane struct {
	env   envtest.Environment
	admin client.Client
}

// controlPlane is one for all tests of the process; each has a namespace in it.
var controlPlane struct {
	plane
	once sync.Once
	err  error
	next int
	mu   sync.Mutex
}

func (p *plane) start(assets, root string) error {
	p.env = envtest.Environment{
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     []string{filepath.Join(root, "config", "crd")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := p.env.Start()
	if err != nil {
		return err
	}
	scheme := k8sruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	p.admin, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests wait for programs most of the time, and one for a session to expire.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		if err := parallel.Value.Set(strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err) // a number
		}
	}
	code := m.Run()
	if controlPlane.admin != nil {
		if err := controlPlane.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// namespace is the cluster mode: the objects of a namespace, followed by a
// manager with exactly the rights that config/rbac gives.
type namespace struct {
	name       string
	kubeconfig string
	admin      client.Client
	// token of a ServiceAccount that may do everything.
	token string
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	assets := servers.ControlPlaneAssets(t)
	root, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	controlPlane.once.Do(func() { controlPlane.err = controlPlane.start(assets, root) })
	if controlPlane.err != nil {
		t.Fatal(controlPlane.err)
	}
	controlPlane.mu.Lock()
	controlPlane.next++
	name := fmt.Sprintf("e2e-%d", controlPlane.next)
	controlPlane.mu.Unlock()
	return controlPlane.namespace(t, root, name)
}

// namespace makes one, with the manager's rights and somebody who may do everything in it.
func (p *plane) namespace(t *testing.T, root, name string) *namespace {
	t.Helper()
	n := &namespace{name: name, admin: p.admin}
	if err := n.admin.Create(background, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.name}}); err != nil {
		t.Fatal(err)
	}
	account := n.grant(t, filepath.Join(root, "config", "rbac"))
	user, err := p.env.AddUser(envtest.User{Name: account, Groups: []string{"system:serviceaccounts"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	n.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(n.kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	n.account(t, "everything", rbacv1.PolicyRule{APIGroups: []string{access.Group}, Resources: []string{
		access.Packages, access.Events, access.Backends, access.Verifications, access.Sweeps, access.Probes,
	}, Verbs: []string{access.Create, access.Get, access.List, access.Delete}})
	n.token = n.tokenOf(t, "everything")
	return n
}

// account makes a ServiceAccount that may do what the rules say.
func (n *namespace) account(t *testing.T, name string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name, Namespace: n.name}
	for _, object := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: n.name, Name: name}}},
	} {
		if err := n.admin.Create(background, object); err != nil {
			t.Fatal(err)
		}
	}
}

// tokenOf asks for a token as a kubelet does for a pod.
func (n *namespace) tokenOf(t *testing.T, account string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"artifact-store"}}}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: n.name}}
	if err := n.admin.SubResource("token").Create(background, sa, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// grant creates what the folder of manifests holds, in this namespace, and
// returns the user name of the manager's service account.
func (n *namespace) grant(t *testing.T, folder string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no manifests in %s: %v", folder, err)
	}
	account, roles := "", 0
	for _, name := range names {
		if filepath.Base(name) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var object unstructured.Unstructured
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if object.Object == nil {
				continue
			}
			switch object.GetKind() {
			case "ServiceAccount":
				if object.GetName() == "artifact-store-manager" {
					account = "system:serviceaccount:" + n.name + ":" + object.GetName()
				}
			case "RoleBinding", "ClusterRoleBinding":
				n.bind(t, document)
				continue
			case "ClusterRole": // of which there is one for all namespaces
				object.SetName(n.name + "-" + object.GetName())
			case "Role":
				roles++
			}
			if object.GetKind() != "ClusterRole" {
				object.SetNamespace(n.name)
			}
			if err := n.admin.Create(background, &object); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if account == "" || roles == 0 {
		t.Fatalf("%s holds no ServiceAccount or no Role", folder)
	}
	return account
}

func (n *namespace) bind(t *testing.T, document string) {
	t.Helper()
	var binding rbacv1.ClusterRoleBinding // a RoleBinding has the same fields
	if err := yaml.UnmarshalStrict([]byte(document), &binding); err != nil {
		t.Fatal(err)
	}
	for i := range binding.Subjects {
		binding.Subjects[i].Namespace = n.name
	}
	var object client.Object = &binding
	if binding.Kind == "ClusterRoleBinding" {
		binding.Name = n.name + "-" + binding.Name
		binding.RoleRef.Name = n.name + "-" + binding.RoleRef.Name
	} else {
		object = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding.Name, Namespace: n.name}, RoleRef: binding.RoleRef, Subjects: binding.Subjects}
	}
	if err := n.admin.Create(background, object); err != nil {
		t.Fatal(err)
	}
}

func (n *namespace) apply(t *testing.T, object client.Object) {
	t.Helper()
	object.SetNamespace(n.name)
	err := n.admin.Create(background, object)
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	// A status is written meanwhile: read, change, and try again on a conflict.
	programs.Eventually(t, func() error {
		current := object.DeepCopyObject().(client.Object)
		if err := n.admin.Get(background, client.ObjectKeyFromObject(object), current); err != nil {
			return err
		}
		object.SetResourceVersion(current.GetResourceVersion())
		return n.admin.Update(background, object)
	})
}

// secret keeps each value in a Secret of its own.
func (n *namespace) secret(t *testing.T, name, value string) *v1alpha1.ValueRef {
	t.Helper()
	n.apply(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"value": value}})
	return &v1alpha1.ValueRef{Name: name, Key: "value"}
}

func (n *namespace) missing(*testing.T) (*v1alpha1.ValueRef, string) {
	return &v1alpha1.ValueRef{Name: "there-is-no-such-secret", Key: "value"}, "SecretNotFound"
}

func (n *namespace) absent(t *testing.T) (*v1alpha1.ValueRef, string) {
	ref := n.secret(t, "other-key", "x")
	ref.Key = "no-such-key"
	return ref, "SecretKeyNotFound"
}

func (n *namespace) conditions(t *testing.T, backend string) []metav1.Condition {
	t.Helper()
	var sb v1alpha1.StorageBackend
	if err := n.admin.Get(background, client.ObjectKey{Namespace: n.name, Name: backend}, &sb); err != nil {
		t.Fatal(err)
	}
	return sb.Status.Conditions
}

func (n *namespace) start(t *testing.T, database, dataDir, localRoot string) *programs.Manager {
	t.Helper()
	// With an election, as several replicas run: it needs rights as well.
	manager := programs.StartManager(t,
		[]string{"--kubeconfig", n.kubeconfig, "--namespace", n.name, "--leader-elect", "--data-dir", dataDir, "--local-root", localRoot},
		[]string{"ARTIFACTSTORE_DATABASE=" + database, "ARTIFACTSTORE_IMAGE=localhost/artifact-store:dev"})
	manager.Token = n.token
	return manager
}
