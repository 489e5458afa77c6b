// Package controllers turns declared StorageBackends and RoutingPolicies into a
// routing table and into statuses, in a cluster or from files.
//
//	StorageBackendReconciler   leader only: probes, writes status
//	RoutingPolicyReconciler    leader only: writes status
//	TableReconciler            every replica: opens drivers, swaps the table
//	Embedded                   all three at once, on YAML files
//
// What is decided is decided by pure functions (translate.go, *_status.go) that
// both modes share; what is found out is found out by Observer.
package controllers
