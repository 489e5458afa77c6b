// Package declared reads what StorageBackends and RoutingPolicies declare: YAML
// files by the CRDs' own schema, references, schedules, places that overlap, and
// the driver's config. It does no I/O except to read a folder of files; Lookup
// resolves references.
package declared
