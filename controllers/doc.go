// Package controllers turns declared StorageBackends and RoutingPolicies into a
// routing table and into statuses, in a cluster or from files.
//
//	StorageBackendReconciler   leader only: probes, writes statuses
//	RoutingPolicyReconciler    leader only: writes statuses
//	TableReconciler            every replica: opens drivers, swaps the table
//	Embedded                   all three at once, on YAML files
//
// It only gathers, calls and patches. The packages below decide and do the I/O:
//
//	declared   what a StorageBackend or a policy says        (pure)
//	status     conditions, conflicts, the rows of the table  (pure)
//	observe    drivers, markers, probes, breakers            (all I/O of looking at a place)
//	cronjobs   the CronJobs and pods that verify
//
// These words have a meaning of their own here and in the packages below:
//
//   - place: where the bytes of a backend are, a bucket with a prefix or a folder.
//   - marker: the object in a place that names the log and the backend that it
//     belongs to. A foreign marker names another log or backend.
//   - driver: the code that stores and reads blobs in one place. The serving
//     driver is the one that the routing table uses.
//   - look: one attempt to open a backend, read its marker and put, get and
//     delete a small object (the small probe).
//   - full probe: a trial of each capability apart, on a new generation, a changed
//     Secret, a request, or once a day.
//   - problem: what a look found wrong, and the condition that it breaks. A lost
//     look got no answer, which is weaker evidence than a refusal.
//   - history, settle: earlier looks decide what a lost look means.
//   - last good: the driver of the previous declaration, which serves on while
//     new credentials do not work.
//   - breaker: keeps the backends of an endpoint that does not answer from trying
//     it all at once. A backend is away while its breaker turns it away.
//   - stand down: a replica that stops leading removes its gauges.
//   - finding: what verification recorded in the log about a backend's blobs.
//   - taken up: a declaration is taken up when the table uses it.
//   - release, abandon: a deleted backend is released when the log names no live
//     blob in it; an administrator abandons the blobs that are lost.
package controllers
