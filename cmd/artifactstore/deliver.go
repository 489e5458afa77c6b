package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// resumableFrom is the size, in bytes, from which a file is sent so that it goes on
// where a connection broke. A smaller one is sent again, which loses no more than this.
const resumableFrom = 32 << 20

// delivery sends the files of one session.
type delivery struct {
	app      *app
	client   uploader
	session  string
	progress *meter    // nil until sending begins
	limited  sync.Once // a proxy's limit is told
}

// send puts the files, several requests in parallel. Large files come first, so that
// none is in transit alone at the end.
func (d *delivery) send(ctx context.Context, files []*localFile, concurrency int) error {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b *localFile) int { return cmp.Compare(b.size(), a.size()) })
	var total int64
	for _, f := range files {
		total += f.size()
	}
	d.progress = d.app.meter("sending", total).of(len(files))
	defer d.progress.finish()
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, parcel := range parcels(files, concurrency) {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return d.parcel(working, parcel) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// parcel sends the files of one request. Where a proxy refuses it because of its size,
// they are sent one by one.
func (d *delivery) parcel(ctx context.Context, files []*localFile) error {
	if len(files) > 1 {
		err := d.bundle(ctx, files)
		if !isProxyLimit(err) {
			return err
		}
	}
	for _, f := range files {
		if err := d.file(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// bundle sends small files in one request. The client cannot send it again, because it
// is made while it is sent; the files can be read again.
func (d *delivery) bundle(ctx context.Context, files []*localFile) error {
	attempts := d.app.patience().Begin()
	for {
		b := &bundle{files: files, progress: d.progress, keep: true}
		_, err := d.client.PutFiles(ctx, d.session, b.next)
		err = b.explain(ctx, err)
		b.close()
		if err == nil {
			for _, f := range files {
				f.content = nil // no longer needed
			}
			return nil
		}
		d.progress.add(-b.counted)
		d.progress.file(-b.countedFiles)
		if !attempts.Again(ctx, err) {
			return err
		}
	}
}

// file sends one file.
func (d *delivery) file(ctx context.Context, f *localFile) error {
	var err error
	if f.size() < resumableFrom {
		err = f.put(ctx, d.client, d.session, d.progress)
	}
	if f.size() >= resumableFrom || isProxyLimit(err) {
		return d.large(ctx, f)
	}
	if err == nil {
		d.progress.file(1)
	}
	return err
}

// put sends one file in one request, from memory if its bytes are there, otherwise from disk.
func (f *localFile) put(ctx context.Context, client registry.Uploads, session string, progress *meter) error {
	content := registry.Content{Size: f.size(), Digests: f.digests, Executable: f.executable}
	if f.content != nil {
		content.Reader = bytes.NewReader(f.content)
		_, err := client.PutFile(ctx, session, f.path, content)
		if err == nil {
			progress.add(f.size())
		}
		f.content = nil // no longer needed: it was sent, or the push fails
		return named(f.name, err)
	}
	file, err := f.open()
	if err != nil {
		return err
	}
	defer file.Close()
	// The kernel can send an unwrapped *os.File without a copy here.
	forget := progress.position(file)
	content.Reader = file
	_, err = client.PutFile(ctx, session, f.path, content)
	forget()
	if err == nil {
		progress.add(f.size())
	}
	if err != nil && ctx.Err() == nil && !f.unchanged(file) {
		// The registry's error about digest or length is a consequence of the change.
		return &changedError{f.name}
	}
	return named(f.name, err)
}

// large sends a file that goes on where a connection broke.
func (d *delivery) large(ctx context.Context, f *localFile) error {
	var (
		at    int64 // what the registry has
		first = true
	)
	forget := func() {}
	err := client.SendFile(ctx, d.client, d.app.patience(), d.session, client.LargeFile{
		Path: f.path, Size: f.size(), Digests: f.digests, Executable: f.executable,
		Open: func(offset int64) (io.ReadCloser, error) {
			file, err := f.open()
			if err == nil {
				_, err = file.Seek(offset, io.SeekStart)
			}
			if err != nil {
				return nil, err
			}
			forget()
			forget = d.progress.position(file)
			return file, nil
		},
		Kept: func(offset int64) {
			forget()
			if forget = (func() {}); first { // it was there before
				d.progress.keep(offset)
			} else {
				d.progress.add(offset - at)
			}
			at, first = offset, false
		},
		Pieces: func(size int64) {
			d.limited.Do(func() {
				d.app.note("a proxy before the registry limits the size of a request (413): large files are sent in pieces of " + sizeText(size))
			})
		},
	})
	forget()
	if err == nil {
		d.progress.file(1)
		return nil
	}
	if ctx.Err() == nil && !f.same() {
		return &changedError{f.name}
	}
	return named(f.name, err)
}

// same reports whether the file on disk is still the one that was hashed.
func (f *localFile) same() bool {
	file, err := f.open()
	if changed := (*changedError)(nil); errors.As(err, &changed) || errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err == nil {
		file.Close() //nolint:errcheck // it was not even read
	}
	return true
}

func isProxyLimit(err error) bool { return client.IsProxyLimit(err) }
