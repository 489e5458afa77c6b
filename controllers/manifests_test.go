package controllers

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/controllers/declared"
)

// TestManifests has the API server judge every object of config/, as kubectl
// apply -k would send it, with unknown fields refused.
func TestManifests(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	strict := client.WithFieldValidation(c, metav1.FieldValidationStrict)
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "artifact-store"}}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, folder := range []string{"install", "sqlite/install", "default", "samples", "samples/s3", "samples/local", "samples/access", "samples/workload"} {
		for _, file := range kustomized(t, filepath.Join("..", "config", folder)) {
			for _, o := range objects(t, file) {
				seen[o.GetKind()]++
				if kind := o.GetKind(); kind == "CustomResourceDefinition" || kind == "Namespace" || strings.HasPrefix(kind, "ValidatingAdmissionPolicy") {
					continue // installed, and made above
				}
				if strings.HasPrefix(folder, "samples") {
					// Two folders have a policy of the same name.
					if o.SetNamespace(ns); folder != "samples" {
						o.SetName(strings.ReplaceAll(folder, "/", "-") + "-" + o.GetName())
					}
				} else if clusterWide := strings.HasPrefix(o.GetKind(), "ClusterRole"); !clusterWide && o.GetNamespace() != "artifact-store" {
					t.Errorf("%s: %s %s is in no namespace or another", file, o.GetKind(), o.GetName())
				}
				if err := strict.Create(t.Context(), o); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
	for _, kind := range []string{"CustomResourceDefinition", "Role", "RoleBinding", "ServiceAccount", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "PersistentVolumeClaim", "ValidatingAdmissionPolicy", "StorageBackend", "RoutingPolicy", "Secret"} {
		if seen[kind] == 0 {
			t.Errorf("no %s among the manifests", kind)
		}
	}
}

// TestEmbeddedSamples: the samples that make run serves are two backends and a policy between them.
func TestEmbeddedSamples(t *testing.T) {
	t.Parallel()
	declared, err := declared.LoadDir(filepath.Join("..", "config", "samples", "embedded"), declared.Declaration{})
	if err != nil {
		t.Fatal(err)
	}
	if len(declared.Backends) != 2 || len(declared.Policies) != 1 {
		t.Errorf("%d backends, %d policies", len(declared.Backends), len(declared.Policies))
	}
	for _, sb := range declared.Backends {
		if sb.Spec.Local == nil || filepath.IsAbs(sb.Spec.Local.Path) {
			t.Errorf("%s is not a folder of the data directory", sb.Name)
		}
	}
}

// TestOwnSecrets: those that references may not name are those that the Deployment has.
func TestOwnSecrets(t *testing.T) {
	t.Parallel()
	mounted := map[string]bool{}
	for _, file := range kustomized(t, filepath.Join("..", "config", "default")) {
		for _, o := range objects(t, file) {
			if o.GetKind() != "Deployment" {
				continue
			}
			var deployment appsv1.Deployment
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &deployment); err != nil {
				t.Fatal(err)
			}
			for _, v := range deployment.Spec.Template.Spec.Volumes {
				if v.Secret != nil {
					mounted[v.Secret.SecretName] = true
				}
			}
			for _, c := range deployment.Spec.Template.Spec.Containers {
				for _, e := range c.Env {
					if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
						mounted[e.ValueFrom.SecretKeyRef.Name] = true
					}
				}
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(declared.OwnSecrets)), slices.Sorted(maps.Keys(mounted)); !slices.Equal(got, want) {
		t.Errorf("references may not name %q, the manager has %q", got, want)
	}
}

// kustomized lists the files that a kustomization and those below it name.
func kustomized(t *testing.T, folder string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct{ Resources []string }
	if err := yaml.Unmarshal(content, &k); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, resource := range k.Resources {
		path := filepath.Join(folder, resource)
		if strings.HasSuffix(resource, ".yaml") {
			files = append(files, path)
		} else {
			files = append(files, kustomized(t, path)...)
		}
	}
	return files
}

func objects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &o.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if o.Object != nil {
			all = append(all, o)
		}
	}
}

// TestPodsAreRestricted has the API server hold the Deployment's pods to the
// Pod Security level of the namespace that config/install makes.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	c, _ := apiClient(t)
	var namespace corev1.Namespace
	var deployment appsv1.Deployment
	for _, folder := range []string{"install", "default"} {
		for _, file := range kustomized(t, filepath.Join("..", "config", folder)) {
			for _, o := range objects(t, file) {
				var into any
				switch o.GetKind() {
				case "Namespace":
					into = &namespace
				case "Deployment":
					into = &deployment
				default:
					continue
				}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	namespace.Name = "restricted"
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: deployment.Spec.Template.Spec.ServiceAccountName}}
	for _, o := range []client.Object{&namespace, account} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	pod := func(name string) *corev1.Pod {
		template := deployment.Spec.Template.DeepCopy()
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: name}, Spec: template.Spec}
	}
	if err := c.Create(t.Context(), pod("as-it-is")); err != nil {
		t.Error(err)
	}
	// The level is enforced: with a capability it is not let in.
	capable := pod("capable")
	capable.Spec.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	if err := c.Create(t.Context(), capable); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		t.Errorf("a pod with a capability: %v", err)
	}
	if context := deployment.Spec.Template.Spec.Containers[0].SecurityContext; context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
		t.Error("the root file system can be written")
	}
}
