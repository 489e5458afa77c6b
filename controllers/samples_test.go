package controllers

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

var samples = filepath.Join("..", "config", "samples")

// TestSamplesWork: config/samples, edited in its three places and no other, is a
// backend and a policy that are Ready.
func TestSamplesWork(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	edits := 0
	for _, file := range kustomized(t, samples) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		edits += strings.Count(text, "# EDIT")
		for from, to := range map[string]string{
			"endpointURL: https://s3.example.com": "endpointURL: " + server.Endpoint, "bucket: change-me": "bucket: " + server.Bucket,
			"accessKey: change-me": "accessKey: " + server.AccessKey, "secretKey: change-me": "secretKey: " + server.SecretKey,
		} {
			text = strings.ReplaceAll(text, from, to)
		}
		edited := filepath.Join(t.TempDir(), "edited.yaml")
		if err := os.WriteFile(edited, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, o := range objects(t, edited) {
			c.create(o)
		}
	}
	if edits != 3 {
		t.Errorf("%d places are marked", edits)
	}
	c.until(&v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "objects"}}, "Ready", metav1.ConditionTrue, status.ReasonReady)
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "default"}}
	c.until(p, "ResolvedRefs", metav1.ConditionTrue, status.ReasonResolved)
	c.until(p, "Ready", metav1.ConditionTrue, status.ReasonReady)
}

// TestSamplesAreComplete: whatever object a sample names is made by a sample, by
// config/default, or by a command of docs/INSTALL.md.
func TestSamplesAreComplete(t *testing.T) {
	t.Parallel()
	made, named := map[string]bool{}, map[string][]string{}
	note := func(file string) func(kind, name string) {
		return func(kind, name string) {
			if name != "" {
				named[kind+" "+name] = append(named[kind+" "+name], file)
			}
		}
	}
	read := func(file string) {
		for _, o := range objects(t, file) {
			made[o.GetKind()+" "+o.GetName()] = true
			if err := names(o.GetKind(), o.Object, note(file)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	folders := 0
	if err := filepath.WalkDir(samples, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if entry.Name() == "kustomization.yaml" {
			folders++
			policiesResolve(t, filepath.Dir(path))
			return nil
		}
		read(path)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, file := range kustomized(t, filepath.Join("..", "config", "default")) {
		read(file)
	}
	install, err := os.ReadFile(filepath.Join("..", "docs", "INSTALL.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Secret artifact-store-database", "Secret artifact-store-tls"} {
		_, name, _ := strings.Cut(line, " ")
		made[line] = strings.Contains(string(install), "create secret generic "+name) || strings.Contains(string(install), "hack/certificate.sh")
	}
	for what, files := range named {
		if !made[what] {
			t.Errorf("%s, which %q name, is made by nothing", what, files)
		}
	}
	if folders < 5 || len(named) < 8 {
		t.Errorf("only %d folders and %d objects were found: %v", folders, len(named), named)
	}
}

// names calls f with the objects that one names.
func names(kind string, object map[string]any, f func(kind, name string)) error {
	content, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	var pod corev1.PodSpec
	switch kind {
	case "RoleBinding":
		var binding rbacv1.RoleBinding
		err = yaml.Unmarshal(content, &binding)
		f(binding.RoleRef.Kind, binding.RoleRef.Name)
		for _, s := range binding.Subjects {
			if s.Kind == rbacv1.ServiceAccountKind {
				f(s.Kind, s.Name)
			}
		}
		return err
	case "StorageBackend":
		var sb v1alpha1.StorageBackend
		err = yaml.Unmarshal(content, &sb)
		for _, name := range declared.SecretNames(&sb) {
			f("Secret", name)
		}
		if sb.Spec.Verification != nil && err == nil {
			_, err = declared.PlanVerification(&sb)
		}
		return err
	case "Pod":
		var of corev1.Pod
		err = yaml.Unmarshal(content, &of)
		pod = of.Spec
	case "Job", "Deployment":
		var of struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		err = yaml.Unmarshal(content, &of)
		pod = of.Spec.Template.Spec
	}
	f("ServiceAccount", pod.ServiceAccountName)
	for _, v := range pod.Volumes {
		switch {
		case v.ConfigMap != nil:
			f("ConfigMap", v.ConfigMap.Name)
		case v.Secret != nil:
			f("Secret", v.Secret.SecretName)
		case v.PersistentVolumeClaim != nil:
			f("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
		}
	}
	return err
}

// policiesResolve: what a folder's policies name, the folder declares.
func policiesResolve(t *testing.T, folder string) {
	t.Helper()
	var policies []v1alpha1.RoutingPolicy
	backends := map[string]bool{}
	for _, file := range kustomized(t, folder) {
		for _, o := range objects(t, file) {
			switch o.GetKind() {
			case "StorageBackend":
				backends[o.GetName()] = true
			case "RoutingPolicy":
				var p v1alpha1.RoutingPolicy
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
					t.Fatal(err)
				}
				policies = append(policies, p)
			}
		}
	}
	for _, p := range policies {
		for i, rule := range p.Spec.Rules {
			for _, name := range rule.Backends {
				if !backends[name] {
					t.Errorf("%s: rules[%d] of %s names %s, which is not declared there", folder, i, p.Name, name)
				}
			}
		}
	}
}

// TestLocalRootThatDoesNotExist: the reason is that no volume is mounted, and not that a path is refused.
func TestLocalRootThatDoesNotExist(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.root = filepath.Join(c.root, "volumes")
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "volume"}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: filepath.Join(c.root, "artifacts")}}}
	c.create(sb)
	c.start(nil, false)
	is := c.until(sb, "Ready", metav1.ConditionFalse, storage.ReasonFolderNotFound)
	if !strings.Contains(is.Message, fmt.Sprintf("--local-root %q does not exist: mount a volume", c.root)) {
		t.Errorf("%q", is.Message)
	}
}
