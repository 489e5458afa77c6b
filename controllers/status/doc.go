// Package status decides the statuses of backends and policies. From what an
// Observer found, it makes conditions, conflicts between policies, and the rows
// of the routing table. It does no I/O.
package status
