// Package reading answers questions: packages, blobs and their bytes, events,
// backends and health, and who holds what.
package reading

import (
	"sync"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/core"
	"github.com/coulomb/artifact-store/pkg/shares"
)

// Reader implements registry.Packages, Blobs, Events, Backends and Callers, and access.Index.
type Reader struct {
	core    *core.Core
	counted sync.Map // backend id -> counted

	// describing has one place: whoever reads records of the log holds it until
	// they are described, since a manifest of megabytes becomes a few counts then.
	describing *shares.Pool

	// damaging lets one list damage at a time: the database goes through all of it
	// for a page, in memory of its own.
	damaging *shares.Pool

	// scanning lets two at a time look at rows that no index finds: each fills a
	// connection's cache.
	scanning *shares.Pool

	tails sync.Mutex
	tail  *tail // nil while nobody follows
}

var (
	_ registry.Packages = (*Reader)(nil)
	_ registry.Blobs    = (*Reader)(nil)
	_ registry.Events   = (*Reader)(nil)
	_ registry.Backends = (*Reader)(nil)
	_ registry.Callers  = (*Reader)(nil)
)

// New returns the room.
func New(c *core.Core) *Reader {
	return &Reader{core: c, describing: shares.New(1), damaging: shares.New(1), scanning: shares.New(2)}
}
