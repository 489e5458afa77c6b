// Package reading answers questions: packages, blobs and their bytes, events,
// backends and health, and who holds what.
package reading

import (
	"sync"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
)

// Reader implements registry.Packages, Blobs, Events and Backends, and access.Index.
type Reader struct {
	core    *core.Core
	counted sync.Map // backend id -> counted

	// describing has one place: whoever reads records of the log holds it until
	// they are described, since a manifest of megabytes becomes a few counts then.
	describing chan struct{}

	tails sync.Mutex
	tail  *tail // nil while nobody follows
}

var (
	_ registry.Packages = (*Reader)(nil)
	_ registry.Blobs    = (*Reader)(nil)
	_ registry.Events   = (*Reader)(nil)
	_ registry.Backends = (*Reader)(nil)
)

// New returns the room.
func New(c *core.Core) *Reader { return &Reader{core: c, describing: make(chan struct{}, 1)} }
