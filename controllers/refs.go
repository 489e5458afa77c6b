package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// maxValueFile bounds a file that a reference names, in bytes: what a Secret may hold.
const maxValueFile = 1 << 20

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

// ownSecrets are the manager's, as config/manager mounts them, and which keys of
// them nobody else gets; none: no key at all. An access key is sent to the
// endpoint as it is, and whoever may write a StorageBackend chooses that.
var ownSecrets = map[string][]string{"artifact-store-database": nil, "artifact-store-tls": {corev1.TLSPrivateKeyKey}}

// refusedInCluster says why a reference is not followed in a cluster, nil if it is.
func refusedInCluster(ref v1alpha1.ValueRef) *Problem {
	if ref.Env != "" || ref.File != "" {
		return problem("", ReasonRefRefused, "in a cluster values come from a Secret (name and key), not from env or file")
	}
	if keys, own := ownSecrets[ref.Name]; own && (keys == nil || slices.Contains(keys, ref.Key)) {
		return problem("", ReasonSecretRefused, "the key %q of the Secret %q is the manager's own; a backend needs a Secret of its own", ref.Key, ref.Name)
	}
	return nil
}

// secretLookup resolves references of a cluster: keys of Secrets of one namespace.
func secretLookup(ctx context.Context, c client.Reader, namespace string) Lookup {
	return func(ref v1alpha1.ValueRef) (storage.Secret, *Problem) {
		if wrong := refusedInCluster(ref); wrong != nil {
			return storage.Secret{}, wrong
		}
		var secret corev1.Secret
		if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, &secret); err != nil {
			if apierrors.IsNotFound(err) {
				return storage.Secret{}, problem("", ReasonSecretNotFound, "there is no Secret %q", ref.Name)
			}
			p := problem("", ReasonSecretNotRead, "the Secret %q could not be read", ref.Name)
			p.Lost = true
			return storage.Secret{}, p
		}
		value := strings.TrimSpace(string(secret.Data[ref.Key]))
		if value == "" {
			return storage.Secret{}, problem("", ReasonKeyNotFound, "the Secret %q has no key %q with a value", ref.Name, ref.Key)
		}
		return storage.NewSecret(value), nil
	}
}

// hostLookup resolves references outside a cluster: environment variables and files.
func hostLookup(ref v1alpha1.ValueRef) (storage.Secret, *Problem) {
	var value string
	switch {
	case ref.Name != "" || ref.Key != "":
		return storage.Secret{}, problem("", ReasonRefRefused, "outside a cluster values come from env or file, not from a Secret (name and key)")
	case (ref.Env == "") == (ref.File == ""):
		return storage.Secret{}, problem("", ReasonInvalidSpec, "exactly one of env and file must be set")
	case ref.Env != "":
		if value = strings.TrimSpace(os.Getenv(ref.Env)); value == "" {
			return storage.Secret{}, problem("", ReasonEnvNotSet, "the environment variable %s is not set or empty", ref.Env)
		}
	default:
		info, err := os.Stat(ref.File)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxValueFile {
			return storage.Secret{}, problem("", ReasonFileNotRead, "%s is not a file of at most %d bytes that can be read", ref.File, maxValueFile)
		}
		content, err := os.ReadFile(ref.File)
		if value = strings.TrimSpace(string(content)); err != nil || value == "" {
			return storage.Secret{}, problem("", ReasonFileNotRead, "%s cannot be read or is empty", ref.File)
		}
	}
	return storage.NewSecret(value), nil
}

// secretNames lists the Secrets that a backend refers to.
func secretNames(sb *v1alpha1.StorageBackend) []string {
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
