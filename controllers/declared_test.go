package controllers

import (
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
)

// TestClusterKnowsWhereTheOthersAre, also those that were declared or deleted
// after the first look at anything.
func TestClusterKnowsWhereTheOthersAre(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	c.until(c.local("first"), "Ready", metav1.ConditionTrue, status.ReasonReady)
	outer := c.local("outer")
	c.until(outer, "Ready", metav1.ConditionTrue, status.ReasonReady)
	path := filepath.Join(outer.Spec.Local.Path, "inner")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	// By its name it comes behind, should both be made in the same second.
	within := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "within"}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	c.create(within)
	c.until(within, "Ready", metav1.ConditionFalse, declared.ReasonPlaceOverlaps)
	if err := c.client.Delete(t.Context(), outer); err != nil {
		t.Fatal(err)
	}
	c.gone(outer)
	c.edit(within, func() { within.Annotations = map[string]string{v1alpha1.RequestAnnotation: "now"} })
	c.until(within, "Ready", metav1.ConditionTrue, status.ReasonReady)
}
