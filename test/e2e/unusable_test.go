package e2e

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func key(name digest.Digest) string { return storage.Key(name) }

// unusable declares backends that cannot work, each for a reason of its own:
// each says which, and everything else is served as before.
func (w *world) unusable(t *testing.T) {
	t.Helper()
	good := newBucket(t)
	missing, noSecret := w.control.missing(t)
	absent, noKey := w.control.absent(t)
	const wrongSecret = "not-the-secret-key-of-this-server"
	for _, broken := range []struct {
		name              string
		change            func(spec *v1alpha1.S3Spec)
		condition, reason string
	}{
		{"no-secret", func(s *v1alpha1.S3Spec) { s.AccessKeyRef = missing }, v1alpha1.ConditionCredentialsResolved, noSecret},
		{"no-key", func(s *v1alpha1.S3Spec) { s.SecretKeyRef = absent }, v1alpha1.ConditionCredentialsResolved, noKey},
		{"bad-endpoint", func(s *v1alpha1.S3Spec) { s.EndpointURL = "http://127.0.0.1:1" }, v1alpha1.ConditionReachable, storage.ReasonConnectionRefused},
		{"wrong-secret", func(s *v1alpha1.S3Spec) { s.SecretKeyRef = w.control.secret(t, "wrong", wrongSecret) }, v1alpha1.ConditionReachable, storage.ReasonSecretKeyWrong},
		{"no-bucket", func(s *v1alpha1.S3Spec) { s.Bucket = "there-is-no-such-bucket" }, v1alpha1.ConditionReachable, storage.ReasonBucketNotFound},
	} {
		spec := good.spec(t, w.control)
		broken.change(spec.S3)
		backend(t, w.control, broken.name, spec)
		w.waitCondition(t, broken.name, broken.condition, metav1.ConditionFalse, broken.reason)
		if ready := w.backends(t)[broken.name]; ready.Ready || ready.Reason != broken.reason {
			t.Errorf("%s is listed as ready %v, reason %q, want %q", broken.name, ready.Ready, ready.Reason, broken.reason)
		}
	}
	log := w.manager.Tail()
	for _, secret := range []string{wrongSecret, good.SecretKey} {
		if strings.Contains(log, secret) {
			t.Error("the log holds a secret key")
		}
	}
	// The rest takes and serves.
	folder := writeTree(t, 2, sizes{small: 3})
	p := w.push(t, folder, "beside-broken-ones", "1")
	sameTree(t, folder, w.pull(t, p.PackageRef))
}
