//go:build e2e

package cluster

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// uninstall goes the way of docs/INSTALL.md, and tries each step too early.
func uninstall(t *testing.T, w *world) {
	// The manager alone goes and comes back, and finds everything as it was.
	w.refused(t, "These objects still exist", "uninstall")
	if said := w.make(t, "undeploy"); !strings.Contains(said, "2 StorageBackends stay declared") {
		t.Errorf("make undeploy says\n%s", said)
	}
	if left := w.managers(t); len(left) != 0 {
		t.Errorf("%d managers are left", len(left))
	}
	w.make(t, "deploy", "IMAGE="+w.after)
	w.waitReady(t)
	w.must(t, "producer", "pull", "e2e/certificates-release@1", "-d", "/tmp/pulled")

	// Everything goes. A backend in use is not deleted by mistake.
	if err := w.client.DeleteAllOf(background, &v1alpha1.RoutingPolicy{}, client.InNamespace(system)); err != nil {
		t.Fatal(err)
	}
	if err := w.client.DeleteAllOf(background, &v1alpha1.StorageBackend{}, client.InNamespace(system)); err == nil || !strings.Contains(err.Error(), v1alpha1.ConfirmAnnotation) {
		t.Fatalf("a backend in use is deleted without being confirmed: %v", err)
	}
	// One that is waits, and says for how many locations.
	for name := range w.places {
		sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name}}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ConfirmAnnotation, name)
		if err := w.client.Patch(background, sb, client.RawPatch("application/merge-patch+json", patch)); err != nil {
			t.Fatal(err)
		}
		if err := w.client.Delete(background, sb); err != nil {
			t.Fatal(err)
		}
	}
	for name := range w.places {
		blocked := w.waitCondition(t, name, v1alpha1.ConditionReady, metav1.ConditionFalse, "DeletionBlocked")
		if !strings.Contains(blocked.Message, "live locations") {
			t.Errorf("%s: %s", name, blocked.Message)
		}
	}
	w.refused(t, "only the manager can complete that", "undeploy")
	w.refused(t, "These objects still exist", "uninstall")
	for name := range w.places {
		var sb v1alpha1.StorageBackend
		if err := w.client.Get(background, client.ObjectKey{Namespace: system, Name: name}, &sb); err != nil {
			t.Fatal(err)
		}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AbandonAnnotation, sb.Status.ID)
		if err := w.client.Patch(background, &sb, client.RawPatch("application/merge-patch+json", patch)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		var left v1alpha1.StorageBackendList
		if err := w.client.List(background, &left); err != nil {
			return err
		}
		if len(left.Items) > 0 {
			return fmt.Errorf("%d StorageBackends are left", len(left.Items))
		}
		return nil
	})
	w.make(t, "undeploy")
	w.make(t, "uninstall")
	if said := w.make(t, "uninstall"); !strings.Contains(said, "not installed") {
		t.Errorf("make uninstall once more says\n%s", said)
	}
	// Nothing holds the namespaces.
	for _, name := range []string{users, system} {
		if err := w.client.Delete(background, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		for _, name := range []string{users, system} {
			if err := w.client.Get(background, client.ObjectKey{Name: name}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("the namespace %s is still there (%v)", name, err)
			}
		}
		return nil
	})
}
