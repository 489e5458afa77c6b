package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/programs"
)

// control is where a manager's declarations come from: YAML files, or the
// objects of a Kubernetes namespace.
type control interface {
	// apply creates or changes a declaration.
	apply(t *testing.T, object client.Object)
	// secret keeps a value where this kind of control keeps them, and returns its address.
	secret(t *testing.T, name, value string) *v1alpha1.ValueRef
	// missing is an address at which there is nothing at all, and absent one
	// where there is something but not this value; with each the reason that says so.
	missing(t *testing.T) (ref *v1alpha1.ValueRef, reason string)
	absent(t *testing.T) (ref *v1alpha1.ValueRef, reason string)
	// conditions of a StorageBackend; nil where they are written nowhere.
	conditions(t *testing.T, backend string) []metav1.Condition
	// start starts a manager that follows this control.
	start(t *testing.T, database, dataDir, localRoot string) *programs.Manager
}

// files is the embedded mode: a folder of YAML files.
type files struct{ config, secrets string }

func newFiles(t *testing.T) *files {
	t.Helper()
	return &files{t.TempDir(), t.TempDir()}
}

func (f *files) apply(t *testing.T, object client.Object) {
	t.Helper()
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	kind := strings.ToLower(object.GetObjectKind().GroupVersionKind().Kind)
	// Written aside and renamed, as an editor does: the manager never reads a half.
	aside := filepath.Join(f.config, "."+kind+"-"+object.GetName())
	if err := os.WriteFile(aside, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, filepath.Join(f.config, kind+"-"+object.GetName()+".yaml")); err != nil {
		t.Fatal(err)
	}
}

func (f *files) secret(t *testing.T, name, value string) *v1alpha1.ValueRef {
	t.Helper()
	file := filepath.Join(f.secrets, name)
	if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &v1alpha1.ValueRef{File: file}
}

func (f *files) missing(*testing.T) (*v1alpha1.ValueRef, string) {
	return &v1alpha1.ValueRef{File: filepath.Join(f.secrets, "there-is-no-such-file")}, "FileNotRead"
}

func (f *files) absent(*testing.T) (*v1alpha1.ValueRef, string) {
	return &v1alpha1.ValueRef{Env: "NOT_IN_THE_ENVIRONMENT"}, "EnvNotSet"
}

func (f *files) conditions(*testing.T, string) []metav1.Condition { return nil }

func (f *files) start(t *testing.T, database, dataDir, localRoot string) *programs.Manager {
	t.Helper()
	return programs.StartManager(t,
		[]string{"--config-dir", f.config, "--data-dir", dataDir, "--local-root", localRoot},
		[]string{"ARTIFACTSTORE_DATABASE=" + database})
}

// backend declares a StorageBackend. Probes are as frequent as they may be:
// what they find out is waited for.
func backend(t *testing.T, c control, name string, spec v1alpha1.StorageBackendSpec) {
	t.Helper()
	spec.Probe.Interval = &metav1.Duration{Duration: 5e9}
	spec.Probe.Timeout = &metav1.Duration{Duration: 5e9}
	c.apply(t, &v1alpha1.StorageBackend{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "StorageBackend"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       spec,
	})
}

// routeTo declares that everything goes to one backend.
func routeTo(t *testing.T, c control, name string) {
	t.Helper()
	policy(t, c, v1alpha1.RoutingRule{Backends: []string{name}})
}

func policy(t *testing.T, c control, rules ...v1alpha1.RoutingRule) {
	t.Helper()
	c.apply(t, &v1alpha1.RoutingPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "RoutingPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       v1alpha1.RoutingPolicySpec{Rules: rules},
	})
}

var background = context.Background()
