// Package ingest takes packages in: upload sessions and their files, alone, in
// bundles and in pieces, and publishing.
//
// A sweep may remove what a session has stored; package removal says how
// publishing notices.
package ingest

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
)

// Intake implements registry.Uploads, Bundles and Resumes.
type Intake struct {
	core     *core.Core
	lifetime time.Duration // of a session after its last change
	windows  windows       // memory for bundles

	// PutTime is how long storing one file may take, and SweptPatience how
	// long a publish waits for sweeps in all. Only tests change them, before use.
	PutTime, SweptPatience time.Duration
}

var (
	_ registry.Uploads = (*Intake)(nil)
	_ registry.Bundles = (*Intake)(nil)
	_ registry.Resumes = (*Intake)(nil)
)

// New returns the room. A session stays open for lifetime after its last change.
func New(c *core.Core, lifetime time.Duration) *Intake {
	return &Intake{core: c, lifetime: lifetime, windows: newWindows(), PutTime: registry.MaxPutTime, SweptPatience: sweptPatience}
}
