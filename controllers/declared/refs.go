package declared

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// Bounds of a reference and of a folder's path in characters, as the schema has them.
const (
	maxName = 253 // of a Secret, of a key in it, and of an environment variable
	maxPath = 1024
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

// validateRefs checks what the schema checks of references in a cluster.
func validateRefs(spec *v1alpha1.S3Spec) error {
	if (spec.AccessKeyRef == nil) != (spec.SecretKeyRef == nil) {
		return errors.New("spec.s3: accessKeyRef and secretKeyRef must be set together")
	}
	if spec.SessionTokenRef != nil && spec.AccessKeyRef == nil {
		return errors.New("spec.s3: sessionTokenRef needs accessKeyRef and secretKeyRef")
	}
	for _, r := range refsOf(spec) {
		if r.ref == nil {
			continue
		}
		sources := 0
		for _, set := range []bool{r.ref.Name != "" || r.ref.Key != "", r.ref.Env != "", r.ref.File != ""} {
			if set {
				sources++
			}
		}
		if sources != 1 || (r.ref.Name == "") != (r.ref.Key == "") {
			return fmt.Errorf("spec.s3.%s: exactly one of name with key, env and file must be set", r.field)
		}
		for _, part := range []struct {
			name, value string
			most        int
		}{{"name", r.ref.Name, maxName}, {"key", r.ref.Key, maxName}, {"env", r.ref.Env, maxName}, {"file", r.ref.File, maxPath}} {
			if utf8.RuneCountInString(part.value) > part.most {
				return fmt.Errorf("spec.s3.%s.%s: must be at most %d characters", r.field, part.name, part.most)
			}
		}
	}
	return nil
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
