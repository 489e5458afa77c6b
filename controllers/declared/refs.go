package declared

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// namedRef is a reference and the field that it stands in.
type namedRef struct {
	field string
	ref   *v1alpha1.ValueRef
}

// refsOf lists the references of a spec; ref is nil where there is none.
func refsOf(spec *v1alpha1.S3Spec) []namedRef {
	return []namedRef{
		{"accessKeyRef", spec.AccessKeyRef}, {"secretKeyRef", spec.SecretKeyRef},
		{"sessionTokenRef", spec.SessionTokenRef}, {"caBundleRef", spec.CABundleRef},
	}
}

// OwnSecrets are the manager's, as config/manager mounts them, and which keys of
// them nobody else gets; none: no key at all. An access key is sent to the
// endpoint as it is, and whoever may write a StorageBackend chooses that.
var OwnSecrets = map[string][]string{"artifact-store-database": nil, "artifact-store-tls": {corev1.TLSPrivateKeyKey}}

// RefusedInCluster says why a reference is not followed in a cluster, nil if it is.
func RefusedInCluster(ref v1alpha1.ValueRef) *Problem {
	if ref.Env != "" || ref.File != "" {
		return Problemf("", ReasonRefRefused, "in a cluster values come from a Secret (name and key), not from env or file")
	}
	if keys, own := OwnSecrets[ref.Name]; own && (keys == nil || slices.Contains(keys, ref.Key)) {
		return Problemf("", ReasonSecretRefused, "the key %q of the Secret %q is the manager's own; a backend needs a Secret of its own", ref.Key, ref.Name)
	}
	return nil
}

// SecretNames lists the Secrets that a backend refers to.
func SecretNames(sb *v1alpha1.StorageBackend) []string {
	var names []string
	if spec := sb.Spec.S3; spec != nil {
		for _, r := range refsOf(spec) {
			if r.ref != nil && r.ref.Name != "" && !slices.Contains(names, r.ref.Name) {
				names = append(names, r.ref.Name)
			}
		}
	}
	return names
}

// Files lists the files that a backend refers to.
func Files(sb *v1alpha1.StorageBackend) []string {
	var files []string
	if spec := sb.Spec.S3; spec != nil {
		for _, r := range refsOf(spec) {
			if r.ref != nil && r.ref.File != "" {
				files = append(files, r.ref.File)
			}
		}
	}
	return files
}
