// Package custody keeps what the log says true of the places: their identity,
// verification, sweeps, and their leaving.
package custody

import (
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
)

// Keeper implements registry.Verifications and Sweeps, and of
// registrar.Registrar what writes.
type Keeper struct {
	core *core.Core
	age  time.Duration // of orphans that are swept

	verifying sync.Map // backend id -> struct{}, of runs in this process
	sweeping  sync.Map // likewise
	kept      sync.Map // backend id -> struct{}, where each head mark that is written stays
}

var (
	_ registry.Verifications = (*Keeper)(nil)
	_ registry.Sweeps        = (*Keeper)(nil)
)

// New returns the room. A sweep takes what is younger than orphanAge for
// something that is under way.
func New(c *core.Core, orphanAge time.Duration) *Keeper { return &Keeper{core: c, age: orphanAge} }

// operator is the actor of what declarations bring about.
const operator = "operator"
