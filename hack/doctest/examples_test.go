package doctest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// TestExamples decodes every YAML example and sample into its type, strictly.
func TestExamples(t *testing.T) {
	t.Parallel()
	decoded := 0
	check := func(where, text string) {
		documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader([]byte(text))))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = decode(document)
			}
			if err != nil {
				t.Errorf("%s: %v", where, err)
				return
			}
			decoded++
		}
	}
	for _, path := range documents {
		for _, block := range blocksOf(t, path) {
			if block.Language == "yaml" && block.Mark != "part" {
				check(fmt.Sprintf("%s:%d", path, block.Line), block.Text)
			}
		}
	}
	inDocuments := decoded
	samples, err := filepath.Glob(filepath.Join(root(t), "config/samples/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(filepath.Join(root(t), "config/samples/*/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(samples, below...) {
		if filepath.Base(path) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check(path, string(content))
	}
	if inDocuments < 4 || decoded-inDocuments < 4 {
		t.Errorf("only %d examples of documents and %d of samples were found", inDocuments, decoded-inDocuments)
	}
}

func decode(document []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	switch what := kind.APIVersion + " " + kind.Kind; what {
	case "artifactstore.dev/v1alpha1 StorageBackend":
		return yaml.UnmarshalStrict(document, &v1alpha1.StorageBackend{})
	case "artifactstore.dev/v1alpha1 RoutingPolicy":
		return yaml.UnmarshalStrict(document, &v1alpha1.RoutingPolicy{})
	case "v1 Namespace":
		return yaml.UnmarshalStrict(document, &corev1.Namespace{})
	case "v1 ServiceAccount":
		return yaml.UnmarshalStrict(document, &corev1.ServiceAccount{})
	case "v1 ConfigMap":
		return yaml.UnmarshalStrict(document, &corev1.ConfigMap{})
	case "v1 PersistentVolumeClaim":
		return yaml.UnmarshalStrict(document, &corev1.PersistentVolumeClaim{})
	case "v1 Secret":
		return yaml.UnmarshalStrict(document, &corev1.Secret{})
	case "batch/v1 Job":
		return yaml.UnmarshalStrict(document, &batchv1.Job{})
	case "v1 Pod":
		return yaml.UnmarshalStrict(document, &corev1.Pod{})
	case "rbac.authorization.k8s.io/v1 Role":
		return yaml.UnmarshalStrict(document, &rbacv1.Role{})
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return yaml.UnmarshalStrict(document, &rbacv1.RoleBinding{})
	default:
		return fmt.Errorf("%q is not known here: %.60s", what, strings.TrimSpace(string(document)))
	}
}
