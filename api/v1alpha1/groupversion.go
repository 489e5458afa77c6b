// Package v1alpha1 defines the kinds of the API group artifactstore.dev:
// StorageBackend (where bytes are stored) and RoutingPolicy (which packages go
// where). It contains types only.
//
// +kubebuilder:object:generate=true
// +groupName=artifactstore.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind here.
var GroupVersion = schema.GroupVersion{Group: "artifactstore.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &StorageBackend{}, &StorageBackendList{}, &RoutingPolicy{}, &RoutingPolicyList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
