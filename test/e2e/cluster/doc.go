// Package cluster is the test of artifact-store in a real cluster, with nodes:
// make test-e2e. It is built with the tag e2e only, because the other tests
// need no cluster.
package cluster
