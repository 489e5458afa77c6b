// Package status decides what is said of backends and policies. Given what an
// Observer found, it gives conditions, conflicts between policies, and the rows
// of the routing table. It does no I/O.
package status
