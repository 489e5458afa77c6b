package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// meter shows how many bytes were processed. It is silent unless stderr is a
// terminal. All methods may be called concurrently.
type meter struct{ bar *progressbar.ProgressBar }

func (a *app) meter(what string, total int64) *meter {
	file, ok := a.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &meter{}
	}
	return &meter{progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(file),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
	)}
}

func (m *meter) silent() bool { return m.bar == nil }

// The ignored errors are those of drawing a bar, which is no reason to fail.

func (m *meter) add(n int64) {
	if m.bar != nil {
		_ = m.bar.Add64(n)
	}
}

// set moves to an absolute state, for work that another process does.
func (m *meter) set(done, total int64) {
	if m.bar != nil {
		m.bar.ChangeMax64(max(total, 1))
		_ = m.bar.Set64(done)
	}
}

func (m *meter) finish() {
	if m.bar != nil {
		_ = m.bar.Finish()
	}
}

// reader counts what is read through it. Without a terminal it returns from
// itself, so that the transport can still pass a file to the kernel.
func (m *meter) reader(from io.Reader) io.Reader {
	if m.silent() {
		return from
	}
	return &meteredReader{from, m}
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
