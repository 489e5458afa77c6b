package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// progressMode is how progress is shown; it is a pflag.Value.
type progressMode string

const (
	progressAuto  progressMode = "auto"
	progressBar   progressMode = "bar"
	progressPlain progressMode = "plain"
	progressNone  progressMode = "none"
)

func (p *progressMode) String() string { return string(*p) }
func (p *progressMode) Type() string   { return "mode" }

func (p *progressMode) Set(text string) error {
	switch progressMode(text) {
	case progressAuto, progressBar, progressPlain, progressNone:
		*p = progressMode(text)
		return nil
	}
	return fmt.Errorf("must be auto, bar, plain or none")
}

const (
	// drawEvery is how often the bar is drawn, plainEvery how often a line is printed.
	drawEvery  = 100 * time.Millisecond
	plainEvery = 10 * time.Second
	// defaultWidth of a terminal that does not tell.
	defaultWidth = 80
)

// screen is standard error, which the bar shares with lines.
type screen struct {
	mu    sync.Mutex
	drawn int // characters of the bar that stands there
}

// note prints a line on standard error, above the bar if there is one.
func (a *app) note(text string) {
	if a.quiet {
		return
	}
	a.screen.mu.Lock()
	defer a.screen.mu.Unlock()
	a.wipe()
	fmt.Fprintf(a.stderr, "artifactstore: %s\n", text)
}

// draw replaces the bar.
func (a *app) draw(line string) {
	a.screen.mu.Lock()
	defer a.screen.mu.Unlock()
	fmt.Fprintf(a.stderr, "\r%s%*s", line, max(0, a.screen.drawn-len(line)), "")
	a.screen.drawn = len(line)
}

// wipe removes the bar. Spaces work on every terminal.
func (a *app) wipe() {
	if a.screen.drawn > 0 {
		fmt.Fprintf(a.stderr, "\r%*s\r", a.screen.drawn, "")
		a.screen.drawn = 0
	}
}

// width of the terminal, in columns.
func (a *app) width() int {
	if file, is := a.stderr.(*os.File); is {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	if width, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && width > 0 {
		return width
	}
	return defaultWidth
}

// progressMode resolves auto.
func (a *app) progressMode() progressMode {
	switch {
	case a.quiet:
		return progressNone
	case a.progress != progressAuto && a.progress != "":
		return a.progress
	}
	if file, is := a.stderr.(*os.File); is && term.IsTerminal(int(file.Fd())) {
		return progressBar
	}
	return progressPlain
}

// meter counts the bytes and files of one step and shows them. All methods may be
// called concurrently. The zero meter shows nothing.
type meter struct {
	what string
	show func(progressState, bool) // nil: nothing

	total, totalFiles atomic.Int64
	bytes, files      atomic.Int64
	kept              atomic.Int64 // of bytes: those that were there before
	mu                sync.Mutex
	watched           map[*os.File]int64 // watched, and where counting them began
	pace              pace
	began             time.Time
	finished          chan struct{}
	shown             bool
	watching          sync.WaitGroup
}

// meter begins to show a step of so many bytes.
func (a *app) meter(what string, total int64) *meter {
	m := &meter{what: what, began: time.Now(), finished: make(chan struct{})}
	m.total.Store(total)
	every := plainEvery
	switch a.progressMode() {
	case progressNone:
		return m
	case progressBar:
		every = drawEvery
		m.show = func(s progressState, last bool) {
			if last {
				a.screen.mu.Lock()
				defer a.screen.mu.Unlock()
				a.wipe()
				return
			}
			a.draw(s.bar(a.width()))
		}
	default:
		// A last line only if there was one before, or if lines were asked for.
		m.show = func(s progressState, last bool) {
			if !last || m.shown || a.progress == progressPlain {
				a.note(s.plain())
			}
		}
	}
	m.watching.Go(func() { m.watch(every) })
	return m
}

// of says how many files the step has.
func (m *meter) of(files int) *meter {
	m.totalFiles.Store(int64(files))
	return m
}

// expect replaces the totals, once they are known.
func (m *meter) expect(bytes int64, files int) {
	m.total.Store(bytes)
	m.of(files)
}

func (m *meter) silent() bool { return m.show == nil }

// watch shows the state until the step is finished.
func (m *meter) watch(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-m.finished:
			m.show(m.state(), true)
			return
		case <-tick.C:
			m.show(m.state(), false)
			m.shown = true
		}
	}
}

// state is for the goroutine of watch.
func (m *meter) state() progressState {
	done := m.bytes.Load() + m.inKernel()
	elapsed := time.Since(m.began)
	m.pace.at(elapsed, done-m.kept.Load())
	s := progressState{
		what: m.what, bytes: done, total: m.total.Load(), files: m.files.Load(), totalFiles: m.totalFiles.Load(),
		rate: m.pace.rate(),
	}
	s.left = m.pace.left(s.total - s.bytes)
	return s
}

func (m *meter) add(n int64) { m.bytes.Add(n) }

// keep counts bytes that need not be moved: they are progress, and no pace.
func (m *meter) keep(n int64) {
	m.kept.Add(n)
	m.bytes.Add(n)
}

// file counts files that are done.
func (m *meter) file(n int) { m.files.Add(int64(n)) }

// set moves to an absolute state, for work that another process does.
func (m *meter) set(done, total int64) {
	m.total.Store(total)
	m.bytes.Store(done)
}

// finish ends the step. It may be called twice.
func (m *meter) finish() {
	if m.show == nil {
		return
	}
	select {
	case <-m.finished:
	default:
		close(m.finished)
	}
	m.watching.Wait()
}

// reader counts what is read through it.
func (m *meter) reader(from io.Reader) io.Reader {
	if m.silent() {
		return from
	}
	return &meteredReader{from, m}
}

// position counts how far a file is read by where its reader stands, so that the
// transport can pass it to the kernel. The bytes count until forget is called.
func (m *meter) position(file *os.File) (forget func()) {
	if m.silent() {
		return func() {}
	}
	start, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watched == nil {
		m.watched = map[*os.File]int64{}
	}
	m.watched[file] = start
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watched, file)
	}
}

// inKernel is how far the watched files are.
func (m *meter) inKernel() (sum int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for file, start := range m.watched {
		if at, err := file.Seek(0, io.SeekCurrent); err == nil {
			sum += at - start
		}
	}
	return sum
}

type meteredReader struct {
	from  io.Reader
	meter *meter
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.meter.add(int64(n))
	return n, err
}
