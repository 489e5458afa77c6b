// Package wire holds what client and server of the HTTP API have in common:
// problems, header fields, addresses, formats. docs/api/http.md is its
// reference. Members may be added; what exists keeps its meaning.
package wire

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// The tar archive that carries many small files in one request.
const (
	TarMediaType = "application/x-tar"
	// DigestRecord is the PAX record (POSIX.1-2017, pax, vendor namespace) that
	// declares a file's digests, in the format of Repr-Digest.
	DigestRecord = "ARTIFACTSTORE.repr-digest"
)

// Heartbeat is how often an idle event stream shows that it is alive, so that
// neither proxies nor clients consider it dead.
const Heartbeat = 15 * time.Second

// BackendList is the answer to a list of backends.
type BackendList struct {
	Backends []registry.BackendStatus `json:"backends"`
}

// VerifyLine is one line of the answer to a verification. The last one is done,
// or has a problem.
type VerifyLine struct {
	registry.VerifyReport
	Problem *Problem `json:"problem,omitempty"`
}

// Fail makes it the last line of a run that is not done.
func (l *VerifyLine) Fail(p *Problem) { l.Done, l.Error, l.Problem = false, p.Message(), p }

// SweepLine is one line of the answer to a sweep, as VerifyLine.
type SweepLine struct {
	registry.SweepReport
	Problem *Problem `json:"problem,omitempty"`
}

// Fail makes it the last line of a run that is not done.
func (l *SweepLine) Fail(p *Problem) { l.Done, l.Error, l.Problem = false, p.Message(), p }
