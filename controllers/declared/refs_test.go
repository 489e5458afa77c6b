package declared

import (
	"slices"
	"testing"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

func TestSecretNames(t *testing.T) {
	t.Parallel()
	ref := func(name string) *v1alpha1.ValueRef { return &v1alpha1.ValueRef{Name: name, Key: "k"} }
	sb := &v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{S3: &v1alpha1.S3Spec{AccessKeyRef: ref("a"), SecretKeyRef: ref("a"), SessionTokenRef: ref("b"), CABundleRef: ref("c")}}}
	if got := SecretNames(sb); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%v", got)
	}
	if got := SecretNames(&v1alpha1.StorageBackend{}); got != nil {
		t.Errorf("%v", got)
	}
}
