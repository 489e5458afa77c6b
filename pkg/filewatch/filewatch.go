// Package filewatch takes up files again when their content changes: the one way
// in which the programs follow files that are edited while they run.
//
// Files are read at each look. No clock of a file system, no link and no
// network volume can then hide an edit, and what is followed here is small.
package filewatch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/regular"
)

const (
	// Interval is the time between two looks of Run. An edit is taken up once
	// two looks in a row find the same: an edit of several files is one then.
	Interval = 250 * time.Millisecond
	// maxRead of each file are compared, in bytes. Users of this package read less of them.
	maxRead = 2 << 20
)

// Files are followed together. Look and Run must not be called concurrently.
type Files struct {
	paths func() []string
	take  func() error
	tried fingerprint // of the content that take was last called for
	err   error       // that it returned
}

type fingerprint [sha256.Size]byte

// New follows files whose content is loaded already. paths names them at each
// look; a file that is missing or cannot be read counts as different content.
// take reads the files itself.
func New(paths func() []string, take func() error) *Files {
	f := &Files{paths: paths, take: take}
	f.tried = f.look()
	return f
}

// Open is New, and then calls take for the first time. It fails if that does.
func Open(paths func() []string, take func() error) (*Files, error) {
	f := New(paths, take) // before take reads: what changes meanwhile is taken up again
	f.err = take()
	return f, f.err
}

// Look calls take at once if the content has changed. It returns the error of
// the last take.
func (f *Files) Look() error {
	if now := f.look(); now != f.tried {
		f.tried, f.err = now, f.take()
	}
	return f.err
}

// Run follows the files until ctx ends. refused gets the error of a take, once
// for each content that is refused.
func (f *Files) Run(ctx context.Context, refused func(error)) {
	for last := f.tried; backoff.Sleep(ctx, Interval); {
		now := f.look()
		settled := now == last
		if last = now; !settled || now == f.tried {
			continue
		}
		if f.tried, f.err = now, f.take(); f.err != nil {
			refused(f.err)
		}
	}
}

func (f *Files) look() (all fingerprint) {
	sum := sha256.New()
	for _, path := range f.paths() {
		content, err := contentOf(path)
		// Lengths first: nothing can look like the end of one and the start of the next.
		text := fmt.Sprintf("%s %v", path, err)
		fmt.Fprintf(sum, "%d %s", len(text), text)
		sum.Write(content[:])
	}
	sum.Sum(all[:0])
	return all
}

func contentOf(path string) (content fingerprint, err error) {
	file, err := regular.Open(path)
	if err != nil {
		return content, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(file, maxRead)); err != nil {
		return content, err
	}
	sum.Sum(content[:0])
	return content, nil
}
