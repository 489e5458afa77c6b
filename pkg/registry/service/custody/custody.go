// Package custody keeps the places in agreement with the log: their identity,
// verifications, sweeps, and the end of a backend.
package custody

import (
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
)

// Keeper implements registry.Verifications and Sweeps, and the methods of
// registrar.Registrar that write.
type Keeper struct {
	core *core.Core
	age  time.Duration // of orphans that are swept

	sweeping sync.Map // backend id -> struct{}, of runs in this process
	kept     sync.Map // backend id -> struct{}, where each head mark that is written stays
}

var (
	_ registry.Verifications = (*Keeper)(nil)
	_ registry.Sweeps        = (*Keeper)(nil)
)

// New returns the room. A sweep leaves orphans that are younger than orphanAge:
// they may belong to an upload that is under way.
func New(c *core.Core, orphanAge time.Duration) *Keeper { return &Keeper{core: c, age: orphanAge} }

// operator is the actor of events that follow from declarations.
const operator = "operator"
