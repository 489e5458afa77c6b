package declared

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// Ref is a reference and the field of spec.s3 that it stands in.
type Ref struct {
	Field string // for example accessKeyRef
	v1alpha1.ValueRef
	index int // of the field in an S3Spec
}

// Value names what the reference leads to: accessKey for accessKeyRef.
func (r Ref) Value() string { return strings.TrimSuffix(r.Field, "Ref") }

// refFields are the fields of an S3Spec that are references, without their values.
var refFields = func() (all []Ref) {
	spec := reflect.TypeFor[v1alpha1.S3Spec]()
	for i := range spec.NumField() {
		if field := spec.Field(i); field.Type == reflect.TypeFor[*v1alpha1.ValueRef]() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			all = append(all, Ref{Field: name, index: i})
		}
	}
	return all
}()

// Refs lists the references of a spec that are set.
func Refs(spec *v1alpha1.S3Spec) (set []Ref) {
	for _, ref := range refFields {
		if value := reflect.ValueOf(spec).Elem().Field(ref.index).Interface().(*v1alpha1.ValueRef); value != nil {
			ref.ValueRef = *value
			set = append(set, ref)
		}
	}
	return set
}

// withoutRefs copies a spec without its references.
func withoutRefs(spec *v1alpha1.S3Spec) *v1alpha1.S3Spec {
	left := *spec
	for _, ref := range refFields {
		reflect.ValueOf(&left).Elem().Field(ref.index).SetZero()
	}
	return &left
}

// WithoutCredentials leaves of a spec where bytes are and how they are kept.
func WithoutCredentials(spec v1alpha1.StorageBackendSpec) v1alpha1.StorageBackendSpec {
	left := v1alpha1.StorageBackendSpec{Local: spec.Local, Access: spec.Access}
	if spec.S3 != nil {
		left.S3 = withoutRefs(spec.S3)
	}
	return left
}

// OwnSecrets are the manager's, as config/manager mounts them, and which keys of
// them no backend gets; none listed: no key at all. An access key is sent to the
// endpoint unencrypted, and the author of a StorageBackend chooses the endpoint.
var OwnSecrets = map[string][]string{"artifact-store-database": nil, "artifact-store-tls": {corev1.TLSPrivateKeyKey}}

// RefusedInCluster says why a reference is not followed in a cluster, nil if it is.
func RefusedInCluster(ref v1alpha1.ValueRef) *Problem {
	if ref.Env != "" || ref.File != "" {
		return Problemf("", ReasonRefRefused, "in a cluster values come from a Secret (name and key), not from env or file")
	}
	if keys, own := OwnSecrets[ref.Name]; own && (keys == nil || slices.Contains(keys, ref.Key)) {
		return Problemf("", ReasonSecretRefused, "the key %q of the Secret %q belongs to the manager; a backend needs a Secret of its own", ref.Key, ref.Name)
	}
	return nil
}

// SecretNames lists the Secrets that a backend refers to.
func SecretNames(sb *v1alpha1.StorageBackend) []string {
	var names []string
	if spec := sb.Spec.S3; spec != nil {
		for _, r := range Refs(spec) {
			if r.Name != "" && !slices.Contains(names, r.Name) {
				names = append(names, r.Name)
			}
		}
	}
	return names
}

// Files lists the files that a backend refers to.
func Files(sb *v1alpha1.StorageBackend) []string {
	var files []string
	if spec := sb.Spec.S3; spec != nil {
		for _, r := range Refs(spec) {
			if r.File != "" {
				files = append(files, r.File)
			}
		}
	}
	return files
}
