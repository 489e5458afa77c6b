package observe

import (
	"context"
	"errors"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/regular"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// maxValueFile bounds a file that a reference names, in bytes: what a Secret may hold.
const maxValueFile = 1 << 20

// SecretLookup resolves references of a cluster: keys of Secrets of one namespace.
func SecretLookup(ctx context.Context, c client.Reader, namespace string) declared.Lookup {
	return func(ref v1alpha1.ValueRef) (storage.Secret, *declared.Problem) {
		if wrong := declared.RefusedInCluster(ref); wrong != nil {
			return storage.Secret{}, wrong
		}
		var secret corev1.Secret
		if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, &secret); err != nil {
			if apierrors.IsNotFound(err) {
				return storage.Secret{}, declared.Problemf("", declared.ReasonSecretNotFound, "there is no Secret %q", ref.Name)
			}
			p := declared.Problemf("", declared.ReasonSecretNotRead, "the Secret %q could not be read", ref.Name)
			p.Lost = true
			return storage.Secret{}, p
		}
		value := strings.TrimSpace(string(secret.Data[ref.Key]))
		if value == "" {
			return storage.Secret{}, declared.Problemf("", declared.ReasonKeyNotFound, "the Secret %q has no key %q with a value", ref.Name, ref.Key)
		}
		return storage.NewSecret(value), nil
	}
}

// HostLookup resolves references outside a cluster: environment variables and files.
func HostLookup(ref v1alpha1.ValueRef) (storage.Secret, *declared.Problem) {
	var value string
	switch {
	case ref.Name != "" || ref.Key != "":
		return storage.Secret{}, declared.Problemf("", declared.ReasonRefRefused, "outside a cluster values come from env or file, not from a Secret (name and key)")
	case (ref.Env == "") == (ref.File == ""):
		return storage.Secret{}, declared.Problemf("", declared.ReasonInvalidSpec, "exactly one of env and file must be set")
	case ref.Env != "":
		if value = strings.TrimSpace(os.Getenv(ref.Env)); value == "" {
			return storage.Secret{}, declared.Problemf("", declared.ReasonEnvNotSet, "the environment variable %s is not set or empty", ref.Env)
		}
	default:
		content, err := regular.Read(ref.File, maxValueFile)
		if wrong := (*regular.KindError)(nil); errors.As(err, &wrong) {
			return storage.Secret{}, declared.Problemf("", declared.ReasonFileNotRead, "%s", wrong)
		}
		if err != nil {
			return storage.Secret{}, declared.Problemf("", declared.ReasonFileNotRead, "%s is not a file of at most %d bytes that can be read", ref.File, maxValueFile)
		}
		if value = strings.TrimSpace(string(content)); value == "" {
			return storage.Secret{}, declared.Problemf("", declared.ReasonFileNotRead, "%s cannot be read or is empty", ref.File)
		}
	}
	return storage.NewSecret(value), nil
}
