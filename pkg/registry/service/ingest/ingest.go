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
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/window"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/shares"
)

// Intake implements registry.Uploads, Bundles and Resumes.
type Intake struct {
	core     *core.Core
	lifetime time.Duration // of a session after its last change
	windows  *window.Pool  // memory for bundles

	largeDrafts, smallDrafts *shares.Pool // memory for what is being published
	counting                 *shares.Pool // one place for who counts the files of a large session

	// PutTime is how long storing one file may take, SweptPatience how long a publish
	// waits for sweeps in all, StraightFor see appendLarge. Only tests change them, before use.
	PutTime, SweptPatience, StraightFor time.Duration
	// WindowTick is window.Tick. Only tests change it, before use.
	WindowTick time.Duration
	// Limits are what one holder may have. Only tests change them, before use.
	Limits upload.Usage
}

var (
	_ registry.Uploads = (*Intake)(nil)
	_ registry.Bundles = (*Intake)(nil)
	_ registry.Resumes = (*Intake)(nil)
)

// New returns the room. A session stays open for lifetime after its last change.
func New(c *core.Core, lifetime time.Duration) *Intake {
	return &Intake{core: c, lifetime: lifetime, windows: window.NewPool(), largeDrafts: shares.New(largeDrafts), smallDrafts: shares.New(smallDrafts), counting: shares.New(1),
		PutTime: registry.MaxPutTime, SweptPatience: sweptPatience, StraightFor: straightFor, WindowTick: window.Tick, Limits: defaultLimits}
}
