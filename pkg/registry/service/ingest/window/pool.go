// Package window lends the memory in which small files wait until they are stored
// together: those of a bundle, or of a package that is sent at once.
package window

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/shares"
)

const (
	// windowFiles are looked up and recorded in one statement each.
	windowFiles = upload.MaxGetFiles
	// packageFiles are those of a package that is sent at once, and its manifest.
	packageFiles = registry.MaxFilesAtOnce + 1
	// windowBytes of small files are taken from a request before they are stored together.
	windowBytes = 4 << 20
	// maxWindows bounds the memory of all bundles of the process (32 MiB): further
	// bundles wait.
	maxWindows = 8
	// keptWindows are not given back to the process while no bundle has them.
	keptWindows = 1
	// smallBytes are enough for most packages that are sent at once, and maxSmall of
	// them (2 MiB) are lent at a time.
	smallBytes = 64 << 10
	maxSmall   = 32
	// chunkBytes are every bundle's own, and firstBytes of a file must be here
	// before it asks for a window: what it sends next is then on its way.
	chunkBytes = 16 << 10
	firstBytes = 4 << 10
	// Tick is how often a bundle that has a window is looked at. One that
	// moved fewer bytes than leastMoved since has a source that pauses; after
	// ticksToLose of these in a row it loses its window, if others wait.
	Tick        = time.Second
	leastMoved  = 4 << 10
	ticksToLose = 5
	// ticksOfPackage is how long a package that is sent at once may take to come while
	// a holder waits who has no window: 64 KiB/s are enough for the largest.
	ticksOfPackage = 16
	// starvedMoved is what it must move while a holder waits who has no window at
	// all: a file then takes 8 s at most, and after ticksToLose its end gives the window back.
	starvedMoved = 32 << 10
)

// A package fits one large window: it never needs a second one while it has one.
const _ = uint(windowBytes - registry.MaxBytesAtOnce - registry.MaxManifestAtOnce)

// window holds small files until they are stored.
type window struct {
	from    *class
	share   *shares.Share
	data    []byte                  // of the class's size
	used    int                     // by files that are complete
	partial int                     // bytes behind them, of the file that is being read
	files   []registry.NamedContent // Readers are over data
}

// Pool lends out windows, in turns between holders. A package that is sent at once
// begins with a small one, and waits for bundles only when it outgrows that: then it
// gets a large one.
type Pool struct{ small, large class }

// class is windows of one size.
type class struct {
	bytes, kept int
	lent        *shares.Pool
	mu          sync.Mutex
	free        []*window
}

// NewPool returns a pool of which none is lent.
func NewPool() *Pool {
	return &Pool{
		small: class{bytes: smallBytes, kept: maxSmall, lent: shares.New(maxSmall)},
		large: class{bytes: windowBytes, kept: keptWindows, lent: shares.New(maxWindows)},
	}
}

// lend waits for a window that is free.
func (c *class) lend(ctx context.Context) (*window, error) {
	share, err := c.lent.Take(ctx, 1)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.free) - 1
	if last < 0 {
		return &window{from: c, share: share, data: make([]byte, c.bytes)}, nil
	}
	one := c.free[last]
	one.share, c.free = share, c.free[:last]
	return one, nil
}

func (w *window) giveBack() {
	w.reset()
	w.partial = 0
	w.from.mu.Lock()
	if len(w.from.free) < w.from.kept {
		w.from.free = append(w.from.free, w)
	}
	w.from.mu.Unlock()
	w.share.Return()
}

// moveTo moves the files to a larger window, and gives this one back.
func (w *window) moveTo(larger *window) {
	larger.used = copy(larger.data, w.data[:w.used])
	at := 0
	for _, file := range w.files {
		file.Reader = bytes.NewReader(larger.data[at:][:file.Size])
		at += int(file.Size)
		larger.files = append(larger.files, file)
	}
	w.giveBack()
}

// reset drops the files that are complete.
func (w *window) reset() {
	copy(w.data, w.data[w.used:][:w.partial])
	clear(w.files)
	w.files, w.used = w.files[:0], 0
}

func (c *class) crowded() bool {
	select {
	case <-c.lent.Crowded():
		return true
	default:
		return false
	}
}
