// Package crd holds the CustomResourceDefinitions as they are installed.
package crd

import _ "embed" // the manifests

// The manifests, each one CustomResourceDefinition.
var (
	//go:embed artifactstore.dev_storagebackends.yaml
	StorageBackends []byte
	//go:embed artifactstore.dev_routingpolicies.yaml
	RoutingPolicies []byte
)
