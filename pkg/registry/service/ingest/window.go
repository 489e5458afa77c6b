package ingest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// windowFiles are looked up and recorded in one statement each.
	windowFiles = upload.MaxGetFiles
	// windowConcurrency is how many files of one window are stored at a time.
	windowConcurrency = 8
)

// window holds small files until they are stored.
type window struct {
	share   *shares.Share
	data    []byte                  // windowBytes
	used    int                     // by files that are complete
	partial int                     // bytes behind them, of the file that is being read
	files   []registry.NamedContent // Readers are over data
}

// windows lends out at most maxWindows, in turns between holders.
type windows struct {
	lent *shares.Pool
	mu   sync.Mutex
	free []*window
}

func newWindows() *windows { return &windows{lent: shares.New(maxWindows)} }

// lend waits for a window that is free.
func (w *windows) lend(ctx context.Context) (*window, error) {
	share, err := w.lent.Take(ctx, 1)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.free) - 1
	if last < 0 {
		return &window{share: share, data: make([]byte, windowBytes)}, nil
	}
	one := w.free[last]
	one.share, w.free = share, w.free[:last]
	return one, nil
}

func (w *windows) giveBack(one *window) {
	one.reset()
	one.partial = 0
	w.mu.Lock()
	if len(w.free) < keptWindows {
		w.free = append(w.free, one)
	}
	w.mu.Unlock()
	one.share.Return()
}

// reset drops the files that are complete.
func (w *window) reset() {
	copy(w.data, w.data[w.used:][:w.partial])
	clear(w.files)
	w.files, w.used = w.files[:0], 0
}

func (w *window) fits(size int64) bool {
	return len(w.files) < windowFiles && size <= int64(len(w.data)-w.used)
}

// bundle is one request: small files wait in a window until it is full, or until
// the source pauses. What follows mu is the timer's, too.
type bundle struct {
	ctx   context.Context
	in    *Intake
	id    string
	chunk [chunkBytes]byte

	mu      sync.Mutex
	window  *window // nil while none is lent
	filling bool    // a file is being read into it
	moved   int     // bytes since the last tick
	slow    int     // ticks in a row with too few
	ticks   int     // since the window was lent
	timer   *time.Timer
	failed  error // of storing by the timer
	stored  registry.Bundled
}

// lend makes room in a window for a file.
func (b *bundle) lend(size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return b.failed
	}
	if b.window != nil && !b.window.fits(size) {
		if err := b.store(); err != nil {
			return err
		}
	}
	if b.window != nil {
		b.filling = true
		return nil
	}
	b.mu.Unlock()
	one, err := b.in.windows.lend(b.ctx)
	b.mu.Lock()
	if err != nil {
		return err
	}
	b.window, b.filling, b.moved, b.slow, b.ticks = one, true, 0, 0, 0
	if b.timer == nil {
		b.timer = time.AfterFunc(b.in.WindowTick, b.look)
	} else {
		b.timer.Reset(b.in.WindowTick)
	}
	return nil
}

// keep adds bytes of the file that is being read.
func (b *bundle) keep(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failed != nil:
		return b.failed
	case b.window == nil:
		return errTaken
	}
	b.window.partial += copy(b.window.data[b.window.used+b.window.partial:], p)
	b.moved += len(p)
	return nil
}

// complete turns the bytes that were kept into a file.
func (b *bundle) complete(file registry.NamedContent) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failed != nil:
		return b.failed
	case b.window == nil:
		return errTaken
	}
	w := b.window
	b.filling = false
	file.Reader = bytes.NewReader(w.data[w.used:][:w.partial])
	w.used, w.partial = w.used+w.partial, 0
	w.files = append(w.files, file)
	if b.ticks < ticksToLose || !b.in.windows.lent.Starved() {
		return nil
	}
	err := b.store() // its turn is over
	b.release()
	return err
}

// errTaken: another bundle has the window by now. What was stored before stays.
var errTaken = fmt.Errorf("%w: other bundles need the memory", registry.ErrStalled)

// look is called once per tick while the bundle has a window. If its source
// pauses, the files in it are stored, and the window is given back, unless a part
// of a file is in it: that one is dropped when others wait, and the source has
// brought too little for several ticks. More is too little while a holder waits who
// has no window.
func (b *bundle) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.window == nil {
		return
	}
	least := leastMoved
	if b.in.windows.lent.Starved() {
		least = starvedMoved
	}
	b.ticks++
	if b.slow++; b.moved >= least {
		b.slow = 0
	}
	b.moved = 0
	if b.slow > 0 && b.failed == nil {
		b.failed = b.store()
	}
	if b.slow > 0 && (!b.filling || b.slow >= ticksToLose && b.in.windows.crowded()) || b.failed != nil {
		b.release()
		return
	}
	b.timer.Reset(b.in.WindowTick)
}

func (w *windows) crowded() bool {
	select {
	case <-w.lent.Crowded():
		return true
	default:
		return false
	}
}

// store stores the files in the window. mu is held.
func (b *bundle) store() error {
	if b.window == nil || len(b.window.files) == 0 {
		return nil
	}
	files, size := len(b.window.files), int64(b.window.used)
	// These bytes are here: storing them does not hurry the source.
	err := b.in.putWindow(shares.WithSource(b.ctx, nil), b.id, b.window.files)
	b.window.reset()
	if err == nil {
		b.stored.Files += files
		b.stored.Bytes += size
	}
	return err
}

// flush stores what is in the window and gives it back.
func (b *bundle) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.failed
	if err == nil {
		err = b.store()
	}
	b.release()
	return err
}

// release gives the window back and drops what is in it. mu is held.
func (b *bundle) release() {
	if b.window != nil {
		b.in.windows.giveBack(b.window)
		b.window = nil
	}
}

// end is called when nothing is read any more.
func (b *bundle) end(err error) (registry.Bundled, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release() // which ends the timer, too
	return b.stored, err
}

func readError(path string, err error) error {
	return fmt.Errorf("%w: reading %q: %w", storage.ErrSource, path, err)
}
