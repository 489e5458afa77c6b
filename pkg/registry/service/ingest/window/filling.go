package window

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Filling is one request: small files wait in a window until it is full, or until
// the source pauses. It is for one goroutine. What follows mu is the timer's, too.
type Filling struct {
	ctx   context.Context
	pool  *Pool
	tick  time.Duration
	store func(files []registry.NamedContent) error // nil if all of them are one package
	chunk *[chunkBytes]byte                         // nil before the first file

	mu      sync.Mutex
	window  *window // nil while none is lent
	kept    bool    // it is not taken away: all files are here, or a larger one is waited for
	filling bool    // a file is being read into it
	moved   int     // bytes since the last tick
	slow    int     // ticks in a row with too few
	ticks   int     // since the window was lent
	timer   *time.Timer
	failed  error // of storing by the timer, or that the window was taken from a package
	stored  registry.Bundled
}

var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// Fill begins a request. store stores the files of a window together; without it they are
// one package, which Take returns. Tick is the constant, but for tests.
func (w *Pool) Fill(ctx context.Context, tick time.Duration, store func(files []registry.NamedContent) error) *Filling {
	return &Filling{ctx: ctx, pool: w, tick: tick, store: store}
}

// Context is that of the request.
func (b *Filling) Context() context.Context { return b.ctx }

// Add reads a file of known size by way of a little memory of its own, so that
// the window can be taken from it while it waits for bytes. It has none before
// some of them are here.
func (b *Filling) Add(file registry.NamedContent) error {
	if b.chunk == nil {
		b.chunk = chunks.Get().(*[chunkBytes]byte)
	}
	left := int(file.Size)
	n, err := io.ReadAtLeast(file.Reader, b.chunk[:min(left, len(b.chunk))], min(left, firstBytes))
	if err != nil {
		return readError(file.Path, err)
	}
	if err := b.lend(file.Size); err != nil {
		return err
	}
	for {
		if err := b.keep(b.chunk[:n]); err != nil {
			return err
		}
		if left -= n; left == 0 {
			return b.complete(file)
		}
		if n, err = file.Reader.Read(b.chunk[:min(left, len(b.chunk))]); n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return readError(file.Path, err)
		}
	}
}

// lend makes room in a window for a file.
func (b *Filling) lend(size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return b.failed
	}
	if b.window != nil && !b.fits(size) && !b.isPackage() {
		if err := b.storeAll(); err != nil {
			return err
		}
	}
	if b.window != nil && b.fits(size) {
		b.filling = true
		return nil
	}
	from := &b.pool.large
	if b.isPackage() && b.window == nil && size <= smallBytes {
		from = &b.pool.small
	}
	b.kept = true
	b.mu.Unlock()
	one, err := from.lend(b.ctx)
	b.mu.Lock()
	b.kept = false
	if err != nil {
		return err
	}
	if b.window != nil {
		b.window.moveTo(one)
	}
	b.window, b.filling, b.moved, b.slow, b.ticks = one, true, 0, 0, 0
	if b.timer == nil {
		b.timer = time.AfterFunc(b.tick, b.look)
	} else {
		b.timer.Reset(b.tick)
	}
	return nil
}

// keep adds bytes of the file that is being read.
func (b *Filling) keep(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.lost(); err != nil {
		return err
	}
	b.window.partial += copy(b.window.data[b.window.used+b.window.partial:], p)
	b.moved += len(p)
	return nil
}

// lost says why there is no window any more. mu is held.
func (b *Filling) lost() error {
	if b.failed == nil && b.window == nil {
		return errTaken
	}
	return b.failed
}

// complete turns the bytes that were kept into a file.
func (b *Filling) complete(file registry.NamedContent) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.lost(); err != nil {
		return err
	}
	w := b.window
	b.filling = false
	file.Reader = bytes.NewReader(w.data[w.used:][:w.partial])
	w.used, w.partial = w.used+w.partial, 0
	w.files = append(w.files, file)
	if b.ticks < ticksToLose || b.isPackage() || !b.window.from.lent.Starved() {
		return nil
	}
	err := b.storeAll() // its turn is over
	b.release()
	return err
}

// errTaken: another bundle has the window by now. What was stored before stays.
var errTaken = fmt.Errorf("%w: other bundles need the memory", registry.ErrStalled)

// look is called once per tick while the bundle has a window. If its source
// pauses, the files in it are stored, and the window is given back, unless a part
// of a file or of a package is in it: that one is dropped when others wait, and the
// source has brought too little for several ticks. More is too little while a holder waits who
// has no window.
func (b *Filling) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.window == nil {
		return
	}
	if b.kept {
		b.timer.Reset(b.tick)
		return
	}
	least := leastMoved
	if b.window.from.lent.Starved() {
		least = starvedMoved
	}
	b.ticks++
	if b.slow++; b.moved >= least {
		b.slow = 0
	}
	b.moved = 0
	if b.slow > 0 && b.failed == nil && !b.isPackage() {
		b.failed = b.storeAll()
	}
	lost := b.slow > 0 && (!b.filling || b.slow >= ticksToLose && b.window.from.crowded())
	if b.isPackage() { // it needs what is in the window until all of it is here
		lost = b.slow >= ticksToLose && b.window.from.crowded() || b.ticks >= ticksOfPackage && b.window.from.lent.Starved()
	}
	if lost && b.isPackage() {
		b.failed = errTaken
	}
	if lost || b.failed != nil {
		b.release()
		return
	}
	b.timer.Reset(b.tick)
}

// fits reports whether the window has room for another file of that size.
func (b *Filling) fits(size int64) bool {
	most := windowFiles
	if b.isPackage() {
		most = packageFiles
	}
	return len(b.window.files) < most && size <= int64(len(b.window.data)-b.window.used)
}

// isPackage: the files are stored and published together, or not at all.
func (b *Filling) isPackage() bool { return b.store == nil }

// File is one of a package.
type File struct {
	registry.NamedContent // without its Reader
	Bytes                 []byte
}

// Take returns the files of a package when all of them are here. Their bytes are in the
// window until End.
func (b *Filling) Take() ([]File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil || b.window == nil {
		return nil, b.failed
	}
	b.kept = true
	files := make([]File, len(b.window.files))
	at := int64(0)
	for i, file := range b.window.files {
		file.Reader = nil
		files[i] = File{file, b.window.data[at:][:file.Size:file.Size]}
		at += file.Size
	}
	return files, nil
}

// storeAll stores the files in the window. mu is held.
func (b *Filling) storeAll() error {
	if b.window == nil || len(b.window.files) == 0 {
		return nil
	}
	files, size := len(b.window.files), int64(b.window.used)
	err := b.store(b.window.files)
	b.window.reset()
	if err == nil {
		b.stored.Files += files
		b.stored.Bytes += size
	}
	return err
}

// Flush stores what is in the window and gives it back.
func (b *Filling) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.failed
	if err == nil {
		err = b.storeAll()
	}
	b.release()
	return err
}

// Count adds a file that was stored without a window.
func (b *Filling) Count(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored.Files++
	b.stored.Bytes += size
}

// release gives the window back and drops what is in it. mu is held.
func (b *Filling) release() {
	if b.window != nil {
		b.window.giveBack()
		b.window = nil
		b.timer.Stop() // else it would keep b for another tick
	}
}

// End is called when nothing is read any more.
func (b *Filling) End(err error) (registry.Bundled, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release()
	if b.chunk != nil {
		chunks.Put(b.chunk)
		b.chunk = nil
	}
	return b.stored, err
}

func readError(path string, err error) error {
	return fmt.Errorf("%w: reading %q: %w", storage.ErrSource, path, err)
}
