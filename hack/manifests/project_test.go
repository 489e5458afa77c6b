package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// TestProject: kubebuilder's file names the kinds of api/, where they are, and no other.
func TestProject(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root(t), "PROJECT"))
	if err != nil {
		t.Fatal(err)
	}
	var project struct {
		Domain, Repo, Version string
		Resources             []struct{ Domain, Kind, Path, Version string }
	}
	if err := yaml.Unmarshal(text, &project); err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, r := range project.Resources {
		if r.Domain != v1alpha1.GroupVersion.Group || r.Version != v1alpha1.GroupVersion.Version || r.Path != project.Repo+"/api/v1alpha1" {
			t.Errorf("%+v is not of %s", r, v1alpha1.GroupVersion)
		}
		declared = append(declared, r.Kind)
	}
	if project.Version != "3" || project.Domain != v1alpha1.GroupVersion.Group {
		t.Errorf("version %q, domain %q", project.Version, project.Domain)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for kind, is := range scheme.KnownTypes(v1alpha1.GroupVersion) {
		if strings.HasSuffix(is.PkgPath(), "/api/v1alpha1") && !strings.HasSuffix(kind, "List") {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	slices.Sort(declared)
	if len(kinds) < 2 || !slices.Equal(declared, kinds) {
		t.Errorf("PROJECT has the kinds %v, the API %v", declared, kinds)
	}
}
