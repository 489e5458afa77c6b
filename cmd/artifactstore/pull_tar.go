package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// formatTar is a format of pull only.
const formatTar format = "tar"

// pullFormat is the value of pull's --output.
type pullFormat struct{ *format }

func (f pullFormat) Set(text string) error {
	if text == string(formatTar) {
		*f.format = formatTar
		return nil
	}
	if f.format.Set(text) != nil {
		return fmt.Errorf("must be table, json, yaml or tar")
	}
	return nil
}

// withheld is how many of the last bytes of a file are written only once all of it is
// verified: after a wrong file the archive breaks off inside that file, which every
// reader of archives notices.
const withheld = 4 << 10

// pullTar writes the files as an archive to standard output. The same package is the
// same archive: folders that are listed, files in the order of their paths, links, without
// times and owners.
func (a *app) pullTar(ctx context.Context, blobs registry.Blobs, part *manifest.Manifest, concurrency int) error {
	files := part.Files
	if file, is := a.stdout.(*os.File); is && term.IsTerminal(int(file.Fd())) {
		return usage("--output: tar is not for a terminal: send standard output into a file or a program")
	}
	var total int64
	for _, f := range files {
		total += f.Size
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	progress := a.meter("fetching", total).of(len(files))
	defer progress.finish()
	out := tar.NewWriter(a.stdout)
	for _, f := range part.Folders {
		mode := fs.FileMode(folderMode)
		if f.Mode.Recorded() {
			mode = f.Mode.Perm()
		}
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: f.Path + "/", Mode: int64(mode), ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	for f, small := range a.ahead(ctx, blobs, files, concurrency) {
		err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Size: f.Size, Mode: int64(modeOf(f)), ModTime: time.Unix(0, 0)})
		if err == nil && small != nil {
			err = small.writeTo(out)
			progress.add(f.Size)
		} else if err == nil {
			err = a.stream(ctx, blobs, f, out, progress)
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: %w; the archive on standard output breaks off there", f.Path, err)
		}
		progress.file(1)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, l := range part.Links {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: l.Path, Linkname: l.Target, Mode: 0o777, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	return out.Close()
}

// fetched is a small file in memory, or on its way there.
type fetched struct {
	ready chan struct{}
	bytes bytes.Buffer
	err   error
}

func (f *fetched) writeTo(to io.Writer) error {
	<-f.ready
	if f.err != nil {
		return f.err
	}
	_, err := to.Write(f.bytes.Bytes())
	return err
}

// ahead returns the files in order. Small ones are fetched before their turn, several
// at once; a nil value is a large file.
func (a *app) ahead(ctx context.Context, blobs registry.Blobs, files []manifest.File, concurrency int) func(yield func(manifest.File, *fetched) bool) {
	return func(yield func(manifest.File, *fetched) bool) {
		var waiting []*fetched // of files, from the one whose turn it is
		begun := 0
		for i, f := range files {
			for ; begun < len(files) && begun < i+concurrency; begun++ {
				next := files[begun]
				if next.Size > smallFile {
					waiting = append(waiting, nil)
					continue
				}
				got := &fetched{ready: make(chan struct{})}
				waiting = append(waiting, got)
				go func() {
					defer close(got.ready)
					got.err = receiveSmall(ctx, blobs, a.patience(), next, &got.bytes)
				}()
			}
			mine := waiting[0]
			waiting = waiting[1:]
			if !yield(f, mine) {
				return
			}
		}
	}
}

// stream writes a file of any size, but for its last bytes unless all of it is right.
func (a *app) stream(ctx context.Context, blobs registry.Blobs, f manifest.File, to io.Writer, progress *meter) error {
	body := client.ReadBlob(ctx, blobs, a.patience(), f.Digests.SHA256, 0, f.Size)
	defer body.Close() //nolint:errcheck // it was only read
	behind := &behindWriter{to: to, most: f.Size - withheld}
	sum, n, err := digest.Copy(behind, progress.reader(io.LimitReader(body, f.Size+1)))
	if err == nil {
		err = checkReceived(f, sum, n)
	}
	if err == nil {
		_, err = to.Write(behind.held)
	}
	return err
}

// behindWriter passes on the first bytes, and holds the rest.
type behindWriter struct {
	to   io.Writer
	most int64
	held []byte
}

func (w *behindWriter) Write(p []byte) (int, error) {
	n := int(min(max(0, w.most), int64(len(p))))
	w.most -= int64(n)
	w.held = append(w.held, p[n:]...)
	return writeAll(w.to, p[:n], len(p))
}

func writeAll(to io.Writer, p []byte, whole int) (int, error) {
	if n, err := to.Write(p); err != nil {
		return n, err
	}
	return whole, nil
}
